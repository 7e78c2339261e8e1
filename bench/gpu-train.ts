/** Training steps on a GPU: rate, memory, where the time goes, and PyTorch beside it. */

import { messageOf } from '../src/base/errors.ts';
import { costOf, type KernelCost } from '../src/tensor/cost.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { type CudaOptions, createCudaEngine } from '../src/tensor/engines/cuda.ts';
import type { Observer, Work } from '../src/tensor/observer.ts';
import { measureMatrixRate } from '../src/train/profile/limits.ts';
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
};

const usual = { seq: 1024, matrix: 8192 };

/** The paper's baseline on one GPU (Table 1), and GPT-2's two smaller sizes; tiny is for the software CUDA. */
const models: Readonly<Record<string, Model>> = {
  '1.2b': { layers: 40, hidden: 1536, heads: 16, vocabulary: 51_200, ...usual, batches: [8, 16, 32, 48] },
  '355m': { layers: 24, hidden: 1024, heads: 16, vocabulary: 50_257, ...usual, batches: [32, 64] },
  '124m': { layers: 12, hidden: 768, heads: 12, vocabulary: 50_257, ...usual, batches: [64, 128] },
  tiny: { layers: 2, hidden: 32, heads: 2, vocabulary: 67, seq: 16, matrix: 64, batches: [1] },
};
const dropout = 0.1;
const warmUp = 3;

export interface GpuRunOptions {
  readonly steps: number;
  /** Models that PyTorch trains, too. */
  readonly peers: readonly string[];
}

/** Ways to run a step, each measured at the best batch: what each is worth on this GPU. */
const variants = {
  usual: {},
  'algorithms chosen by measuring': { measureProducts: true },
  'kernel by kernel, without graphs': { captures: false },
} satisfies Readonly<Record<string, CudaOptions>>;
type Variant = keyof typeof variants;

/** One result for each model; the matrix rate is measured anew for each, on the same engine. */
export async function* gpuBenchmark(names: readonly string[], options: GpuRunOptions) {
  for (const name of names) {
    const model = pick(models as Record<string, Model>, name, 'model');
    const runs = model.batches.map((batch) => measureOurs(model, batch, options.steps, 'usual'));
    const { batch, tokensPerSecond } = fastest(runs);
    if (tokensPerSecond > 0) {
      const others = Object.keys(variants).filter((variant): variant is Variant => variant !== 'usual');
      for (const variant of others) runs.push(measureOurs(model, batch, options.steps, variant));
    }
    const best = fastest(runs);
    const torch = options.peers.includes(name) ? await fastestTorch(model, batch, options.steps) : undefined;
    const ratio = torch && 'tokensPerSecond' in torch ? best.tokensPerSecond / torch.tokensPerSecond : undefined;
    yield { model: name, ratioToTorch: ratio, seq: model.seq, dropout, ...best, runs: runs.map(summary), torch };
  }
}

interface OurRun {
  readonly batch: number;
  readonly variant: string;
  readonly tokensPerSecond: number;
  readonly palmTflops?: number;
  readonly error?: string;
}

/** @throws RangeError where nothing was run. */
function fastest(runs: readonly OurRun[]): OurRun {
  const [first] = runs.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond);
  if (!first) throw new RangeError('no batch was tried');
  return first;
}

const summary = ({ batch, variant, tokensPerSecond, palmTflops, error }: OurRun): OurRun => ({
  ...{ batch, variant, tokensPerSecond, ...(palmTflops === undefined ? {} : { palmTflops }) },
  ...(error && { error }),
});

/** A batch that does not fit is a result, too. */
function measureOurs(model: Model, batch: number, steps: number, variant: Variant): OurRun {
  const label = `batch ${batch}, ${variant}`;
  using engine = createCudaEngine({
    ...variants[variant],
    notify: (line) => void process.stderr.write(`${line}\n`),
  });
  try {
    const result = measureSteps(engine, model, batch, steps);
    process.stderr.write(
      `${label}: ${result.tokensPerSecond.toFixed(0)} tokens/s, ${result.palmTflops.toFixed(0)} TFLOP/s (PaLM)\n`,
    );
    return { ...result, variant };
  } catch (error) {
    process.stderr.write(`${label}: ${messageOf(error)}\n`);
    return { batch, variant, tokensPerSecond: 0, error: messageOf(error) };
  }
}

function measureSteps(engine: Engine, model: Model, batch: number, steps: number) {
  const { seq } = model;
  const matrixTflops = measureMatrixRate(engine, 'bf16', model.matrix) / 1e12;
  const { step, loss, modelFlops, palmFlops } = gptStep(engine, { ...model, batch, dropout, computeType: 'bf16' });
  for (let i = 0; i < warmUp; i++) step();
  loss(); // waits
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

/**
 * Milliseconds of each kind of kernel in one step, by the GPU's own clock, and what of its cost they reach: begun one by one, with
 * a mark before and after each.
 */
function kernelTimes(engine: Engine, step: () => void) {
  const { device } = engine.backend;
  const marks: { readonly name: string; readonly cost: Required<KernelCost>; readonly milliseconds: () => number }[] =
    [];
  const observer: Observer = {
    during<Result>(work: Work, body: () => Result): Result {
      const before = work.kind === 'kernel' ? device?.mark?.() : undefined;
      const result = body();
      const after = before && device?.mark?.();
      if (work.kind !== 'kernel' || !after) return result;
      const { kernel, values } = work;
      marks.push({ name: kernel.name, cost: costOf(kernel, values), milliseconds: () => after() - before() });
      return result;
    },
  };
  engine.observer = observer;
  try {
    step();
    engine.synchronize();
  } finally {
    engine.observer = undefined;
  }
  const kernels = [...Map.groupBy(marks, ({ name }) => name)].map(([name, calls]) => {
    const total = (of: (call: (typeof calls)[number]) => number): number =>
      calls.reduce((sum, call) => sum + of(call), 0);
    const milliseconds = total((call) => call.milliseconds());
    const [tflops, gigabytes] = [total(({ cost }) => cost.flops) / 1e9, total(({ cost }) => cost.bytes) / 1e6];
    const rate = tflops > 0 ? { tflops: tflops / milliseconds } : { gigabytesPerSecond: gigabytes / milliseconds };
    return { name, calls: calls.length, milliseconds, ...rate };
  });
  return kernels.toSorted((a, b) => b.milliseconds - a.milliseconds);
}

/** The fastest of our best batch and, where it does not fit or a smaller one is faster, halves of it. */
async function fastestTorch(model: Model, batch: number, steps: number) {
  const runs = [await measureTorch(model, batch, steps), await measureTorch(model, batch / 2, steps)];
  const done = runs.filter((run): run is Extract<typeof run, { tokensPerSecond: number }> => 'tokensPerSecond' in run);
  return done.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond)[0] ?? runs[0];
}

/** PyTorch's torch.compile with flash attention and fused AdamW on the same model. */
async function measureTorch(model: Model, batch: number, steps: number) {
  const { layers, hidden, heads, vocabulary, seq } = model;
  try {
    const sizes = { layers, hidden, heads, batch, seq, dropout, vocabulary };
    using peer = await startTorch({ ...sizes, threads: 8, variant: 'compile-bf16', device: 'cuda' });
    for (let i = 0; i < warmUp; i++) await peer.step();
    const each: number[] = [];
    for (let i = 0; i < steps; i++) each.push(await peer.step());
    const tokensPerSecond = (batch * seq * 1000) / median(each);
    process.stderr.write(`PyTorch, batch ${batch}: ${tokensPerSecond.toFixed(0)} tokens/s\n`);
    return { batch, tokensPerSecond, medianStepMilliseconds: median(each), ...(await peer.finish()) };
  } catch (error) {
    return { batch, error: messageOf(error) };
  }
}
