/** The bf16 products of a GPT-2 124M step, ours and PyTorch's in turn, against the processor's own rate. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../src/base/errors.ts';
import { compileLibrary, findCompiler } from '../src/ffi/compile.ts';
import { openLibrary } from '../src/ffi/native.ts';
import { linearForward } from '../src/ops/linear/kernels.ts';
import { matrixProduct } from '../src/ops/matmul/kernels.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createCpuEngine } from '../src/tensor/engines/cpu.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { median, timed } from './measure.ts';

/** Linear layers of the model: name, outputs, inputs. */
const layers: readonly (readonly [string, number, number])[] = [
  ['QKV', 2304, 768],
  ['projection', 768, 768],
  ['MLP up', 3072, 768],
  ['MLP down', 768, 3072],
  ['logits', 50304, 768],
];
const kinds = ['forward', 'dx', 'dW'] as const;
type Kind = (typeof kinds)[number];

interface Shape {
  readonly kind: Kind;
  readonly tokens: number;
  readonly outputs: number;
  readonly inputs: number;
}

export interface Bf16Options {
  readonly threads: number;
  readonly rounds: number;
  readonly tokens: number;
}

export async function bf16Products(options: Bf16Options): Promise<Record<string, unknown>> {
  const { threads, rounds, tokens } = options;
  using engine = await createCpuEngine({ threads });
  using torch = await startTorch(threads);
  const peak = await peakRate(threads);
  const rows = [];
  for (const [layer, outputs, inputs] of layers) {
    for (const kind of kinds) {
      const shape = { kind, tokens, outputs, inputs };
      const flops = 2 * tokens * outputs * inputs;
      const repeats = Math.max(1, Math.round(2e10 / flops));
      const times = { ours: [] as number[], torch: [] as number[], peak: [] as number[] };
      using product = ourProduct(engine, shape);
      for (let round = 0; round <= rounds; round++) {
        await setTimeout(10); // PyTorch's threads spin for some milliseconds after their work
        const ours = timed(() => {
          for (let i = 0; i < repeats; i++) product.run();
        });
        const theirs = await torch.milliseconds(shape, repeats);
        const rate = peak();
        if (round === 0) continue; // warms up
        times.ours.push(ours / repeats);
        times.torch.push(theirs);
        times.peak.push(rate);
      }
      const gflops = (ms: readonly number[]): number => flops / median(ms) / 1e6;
      const [ours, theirs, peakGflops] = [gflops(times.ours), gflops(times.torch), median(times.peak)];
      rows.push({
        ...{ layer, kind, ratioToTorch: ours / theirs, shareOfPeak: ours / peakGflops },
        ...{ gflops: { ours, torch: theirs, peak: peakGflops }, outputs, inputs },
        best: { ours: flops / Math.min(...times.ours) / 1e6, torch: flops / Math.min(...times.torch) / 1e6 },
      });
      process.stderr.write(`${layer} ${kind}: ${ours.toFixed(0)}, PyTorch ${theirs.toFixed(0)} GFLOP/s\n`);
    }
  }
  return {
    ratioToTorch: { median: median(rows.map((row) => row.ratioToTorch)), all: weighted(rows, tokens) },
    torch: torch.version,
    engine: engine.backend.description,
    note: "ours adds dW to a float32 gradient; PyTorch's dW is a bf16 result",
    shapes: rows,
  };
}

type Row = { readonly outputs: number; readonly inputs: number; readonly gflops: { ours: number; torch: number } };

/** Time of all products of a step, PyTorch's over ours: the layers 12 times, the logits once. */
function weighted(rows: readonly (Row & { readonly layer: string })[], tokens: number): number {
  const time = (of: 'ours' | 'torch'): number =>
    rows.reduce((sum, { layer, outputs, inputs, gflops }) => {
      const times = layer === 'logits' ? 1 : 12;
      return sum + (times * 2 * tokens * outputs * inputs) / gflops[of];
    }, 0);
  return time('torch') / time('ours');
}

function ourProduct(engine: Engine, { kind, tokens, outputs, inputs }: Shape): Disposable & { run: () => void } {
  const filled = (rows: number, columns: number): Tensor => {
    const tensor = Tensor.empty(engine, [rows, columns], { dtype: 'bf16' });
    const { data } = tensor;
    // bf16 bits of ±1 … ±1.99, like numbers that vary
    for (let i = 0; i < data.length; i++) data[i] = 0x3f80 | ((i * 37) & 0x807f);
    return tensor;
  };
  const made: Tensor[] = [];
  const keep = (tensor: Tensor): Tensor => {
    made.push(tensor);
    return tensor;
  };
  const x = (): Tensor => keep(filled(tokens, inputs));
  const weight = (): Tensor => keep(filled(outputs, inputs));
  const dy = (): Tensor => keep(filled(tokens, outputs));
  const result = (rows: number, columns: number, dtype: 'bf16' | 'f32'): Tensor =>
    keep(Tensor.zeros(engine, [rows, columns], { dtype }));
  const runOf = {
    forward: () => {
      const [a, b, c] = [x(), weight(), result(tokens, outputs, 'bf16')] as const;
      return () => linearForward(engine, a, b, undefined, c, tokens, outputs, inputs);
    },
    dx: () => {
      const [a, b, c] = [dy(), weight(), result(tokens, inputs, 'bf16')] as const;
      return () => matrixProduct(engine, a, b, c, tokens, inputs, outputs, 0, 0, 0);
    },
    dW: () => {
      const [a, b, c] = [dy(), x(), result(outputs, inputs, 'f32')] as const;
      return () => matrixProduct(engine, a, b, c, outputs, inputs, tokens, 1, 0, 1);
    },
  };
  return {
    run: runOf[kind](),
    [Symbol.dispose]: () => {
      for (const tensor of made) tensor[Symbol.dispose]();
    },
  };
}

/** Measures the rate of register-only bf16 products, in GFLOP/s. */
async function peakRate(threads: number): Promise<() => number> {
  const compiler = await findCompiler();
  if (!compiler) throw new EngineError('this benchmark needs a C++ compiler', { remedy: 'apt-get install g++' });
  const source = fileURLToPath(new URL('./peers/bf16_peak.cpp', import.meta.url));
  const path = await compileLibrary(compiler, { name: 'peak', sources: [source], includeFolders: [] });
  const peak = openLibrary(path).bind('bf16_peak', 'double', ['int32', 'int64']);
  return () => {
    const start = performance.now();
    const flops = Number(peak(threads, 500_000));
    return flops / (performance.now() - start) / 1e6;
  };
}

interface TorchProducts extends Disposable {
  readonly version: string;
  milliseconds(shape: Shape, repeats: number): Promise<number>;
}

/** @throws EngineError when python3 has no torch. */
async function startTorch(threads: number): Promise<TorchProducts> {
  const script = fileURLToPath(new URL('./peers/torch_products.py', import.meta.url));
  const child = spawn('python3', [script, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done) {
      throw new EngineError('the PyTorch peer stopped', { remedy: 'python3 -m pip install torch==2.13.0' });
    }
    return value;
  };
  return {
    version: await next(),
    async milliseconds(shape, repeats) {
      child.stdin.write(`${JSON.stringify({ ...shape, repeats })}\n`);
      return Number(await next());
    },
    [Symbol.dispose]: () => void child.kill(),
  };
}
