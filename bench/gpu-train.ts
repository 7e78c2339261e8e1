/** Training steps on a GPU: rate, memory, where the time goes, and PyTorch beside it. */

import { messageOf } from '../src/base/errors.ts';
import { matrixProduct } from '../src/ops/matmul/kernels.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import type { Observer, Work } from '../src/tensor/observer.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { gptStep, pick, type StepSizes } from './gpt-step.ts';
import { median, timed } from './measure.ts';
import { startTorch } from './peers/torch.ts';

/** Multiply-adds count two: NVIDIA's figure for dense bf16 on an H100 or H200. */
const peakTflops = 989;

type Model = Pick<StepSizes, 'layers' | 'hidden' | 'heads'> & {
  readonly vocabulary: number;
  readonly seq: number;
  /** Rows and columns of the matrices whose product is the machine's own limit. */
  readonly matrix: number;
  /** Samples of a step that are tried. */
  readonly batches: readonly number[];
  /** Whether PyTorch runs the same. */
  readonly compared: boolean;
};

const usual = { seq: 1024, matrix: 8192 };

/** The paper's baseline on one GPU (Table 1), and GPT-2's two smaller sizes; tiny is for the software CUDA. */
const models: Readonly<Record<string, Model>> = {
  '1.2b': { layers: 40, hidden: 1536, heads: 16, vocabulary: 51_200, ...usual, batches: [8, 16, 24], compared: true },
  '355m': { layers: 24, hidden: 1024, heads: 16, vocabulary: 50_257, ...usual, batches: [16, 32], compared: false },
  '124m': { layers: 12, hidden: 768, heads: 12, vocabulary: 50_257, ...usual, batches: [16, 32, 64], compared: false },
  tiny: { layers: 2, hidden: 32, heads: 2, vocabulary: 67, seq: 16, matrix: 64, batches: [1], compared: false },
};
const dropout = 0.1;
const warmUp = 3;

export interface GpuRunOptions {
  readonly steps: number;
  readonly peer: boolean;
}

/** One result for each model; the matrix rate is measured anew for each, on the same engine. */
export async function* gpuBenchmark(names: readonly string[], options: GpuRunOptions) {
  for (const name of names) {
    const model = pick(models as Record<string, Model>, name, 'model');
    const runs = model.batches.map((batch) => measureOurs(model, batch, options.steps, false));
    const first = fastest(runs);
    if (first && first.tokensPerSecond > 0) runs.push(measureOurs(model, first.batch, options.steps, true));
    const best = fastest(runs);
    const torch =
      options.peer && model.compared && best ? await measureTorch(model, best.batch, options.steps) : undefined;
    yield { model: name, seq: model.seq, dropout, ...best, runs: runs.map(summary), torch };
  }
}

interface OurRun {
  readonly batch: number;
  /** Whether cuBLASLt's algorithms were chosen by measuring them. */
  readonly measuredProducts: boolean;
  readonly tokensPerSecond: number;
  readonly error?: string;
}

const fastest = (runs: readonly OurRun[]): OurRun | undefined =>
  runs.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond)[0];

const summary = ({ batch, measuredProducts, tokensPerSecond, error }: OurRun): OurRun => ({
  batch,
  measuredProducts,
  tokensPerSecond,
  ...(error && { error }),
});

/** A batch that does not fit is a result, too. */
function measureOurs(model: Model, batch: number, steps: number, measuredProducts: boolean): OurRun {
  using engine = createCudaEngine({
    measureProducts: measuredProducts,
    notify: (line) => void process.stderr.write(`${line}\n`),
  });
  try {
    const result = measureSteps(engine, model, batch, steps);
    process.stderr.write(
      `batch ${batch}: ${result.tokensPerSecond.toFixed(0)} tokens/s, ${result.palmTflops.toFixed(0)} TFLOP/s\n`,
    );
    return { ...result, measuredProducts };
  } catch (error) {
    process.stderr.write(`batch ${batch}: ${messageOf(error)}\n`);
    return { batch, measuredProducts, tokensPerSecond: 0, error: messageOf(error) };
  }
}

function measureSteps(engine: Engine, model: Model, batch: number, steps: number) {
  const { seq } = model;
  const matrixTflops = measureMatrixRate(engine, model.matrix);
  const { step, loss, modelFlops, palmFlops } = gptStep(engine, { ...model, batch, dropout, computeType: 'bf16' });
  for (let i = 0; i < warmUp; i++) step();
  engine.synchronize();
  const each: number[] = [];
  const milliseconds = timed(() => {
    for (let i = 0; i < steps; i++) each.push(timed(step));
    engine.synchronize();
  });
  const tokensPerSecond = (batch * seq * steps * 1000) / milliseconds;
  const palmTflops = (tokensPerSecond * palmFlops) / 1e12;
  return {
    ...{ batch, tokensPerSecond, palmTflops, modelTflops: (tokensPerSecond * modelFlops) / 1e12, matrixTflops },
    ...{ shareOfPeak: palmTflops / peakTflops, shareOfMatrixRate: palmTflops / matrixTflops },
    ...{ stepMilliseconds: milliseconds / steps, medianStepMilliseconds: median(each), lossAfter: loss() },
    ...{ peakTensorBytes: engine.memory.count().peak, heldBytes: engine.memory.held },
    kernels: kernelTimes(engine, step),
  };
}

/** TFLOP/s of bf16 products of n³ by the engine's own way. */
function measureMatrixRate(engine: Engine, n: number): number {
  const rounds = 10;
  return engine.scope(() => {
    const zeros = (): Tensor => Tensor.zeros(engine, [n, n], { dtype: 'bf16', kind: 'workspace' });
    const [a, b, c] = [zeros(), zeros(), zeros()];
    a.fill(0.5);
    b.fill(-0.25);
    const run = (): void => {
      for (let i = 0; i < rounds; i++) matrixProduct(engine, a, b, c, n, n, n, 0, 1, 0);
      engine.synchronize();
    };
    run();
    return (2 * n ** 3 * rounds) / (timed(run) * 1e9);
  });
}

/**
 * Milliseconds of each kind of kernel in one step that waits after every kernel: the parts are right, their sum is longer than
 * a step that does not wait.
 */
function kernelTimes(
  engine: Engine,
  step: () => void,
): Record<string, { readonly calls: number; readonly milliseconds: number }> {
  const times: Record<string, { calls: number; milliseconds: number }> = {};
  const observer: Observer = {
    during<Result>(work: Work, body: () => Result): Result {
      if (work.kind !== 'kernel') return body();
      engine.synchronize();
      const start = performance.now();
      const result = body();
      engine.synchronize();
      times[work.kernel.name] ??= { calls: 0, milliseconds: 0 };
      const entry = times[work.kernel.name];
      if (entry) {
        entry.calls++;
        entry.milliseconds += performance.now() - start;
      }
      return result;
    },
  };
  engine.observer = observer;
  try {
    step();
  } finally {
    engine.observer = undefined;
  }
  return Object.fromEntries(Object.entries(times).toSorted(([, a], [, b]) => b.milliseconds - a.milliseconds));
}

/** PyTorch's torch.compile with flash attention and fused AdamW on the same model. */
async function measureTorch(model: Model, batch: number, steps: number): Promise<object> {
  const { layers, hidden, heads, vocabulary, seq } = model;
  try {
    const sizes = { layers, hidden, heads, batch, seq, dropout, vocabulary };
    using peer = await startTorch({ ...sizes, threads: 8, variant: 'compile-bf16', device: 'cuda' });
    for (let i = 0; i < warmUp; i++) await peer.step();
    const each: number[] = [];
    for (let i = 0; i < steps; i++) each.push(await peer.step());
    const tokensPerSecond = (batch * seq * 1000) / median(each);
    process.stderr.write(`PyTorch, batch ${batch}: ${tokensPerSecond.toFixed(0)} tokens/s\n`);
    return { tokensPerSecond, medianStepMilliseconds: median(each), ...(await peer.finish()) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}
