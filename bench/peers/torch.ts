/** A PyTorch training step in a process of its own, one step at a time on request. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { EngineError, UsageError } from '../../src/base/errors.ts';

export interface TorchOptions {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly batch: number;
  readonly seq: number;
  readonly threads: number;
  readonly dropout: number;
  readonly variant: string;
  /** Default the CPU. */
  readonly device?: 'cuda';
  /** Default GPT-2's 50,257. */
  readonly vocabulary?: number;
  /** Type of what runs along the residual connections under bf16 autocast: 'bf16', or 'fp32' as autocast leaves it. */
  readonly residual?: string;
}

/** How PyTorch may run: eagerly or compiled, in float32 or with bf16 autocast. */
export const torchVariants = ['eager-bf16', 'compile-bf16', 'eager-fp32', 'compile-fp32'] as const;

export interface TorchPeer extends Disposable {
  /** Milliseconds of one step. */
  step(): Promise<number>;
  /** Milliseconds of many, waited for once. */
  steps(count: number): Promise<number>;
  /** What the peer tells of itself at the end: version, loss, peak memory. */
  finish(): Promise<Record<string, unknown>>;
}

/** @throws UsageError for an unknown variant; EngineError when python3 has no torch. */
export async function startTorch(options: TorchOptions): Promise<TorchPeer> {
  if (!(torchVariants as readonly string[]).includes(options.variant)) {
    throw new UsageError(`no variant ${options.variant}; choose ${torchVariants.join(', ')}`);
  }
  const [mode, precision] = options.variant.split('-');
  const script = fileURLToPath(new URL('./torch_train.py', import.meta.url));
  const child = spawn('python3', [script, JSON.stringify({ ...options, mode, precision })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (word: string): Promise<string> => {
    if (word) child.stdin.write(`${word}\n`);
    const { value, done } = await lines.next();
    if (done) {
      throw new EngineError('the PyTorch peer stopped', { remedy: 'python3 -m pip install torch==2.13.0' });
    }
    return value;
  };
  await ask(''); // ready
  return {
    step: async () => Number(await ask('step 1')),
    steps: async (count) => Number(await ask(`step ${count}`)),
    finish: async () => JSON.parse(await ask('finish')) as Record<string, unknown>,
    [Symbol.dispose]: () => void child.kill(),
  };
}
