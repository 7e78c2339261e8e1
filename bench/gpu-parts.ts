/** One part of the GPU's benchmark, as a process of its own runs it: its result is the last line of standard output. */

import { messageOf } from '../src/base/errors.ts';
import { costOf, type KernelCost } from '../src/tensor/cost.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import type { Observer, Work } from '../src/tensor/observer.ts';
import { measureBandwidth, measureMatrixRate } from '../src/train/profile/limits.ts';
import { gptStep, pick } from './gpt-step.ts';
import { attentionBenchmark } from './gpu-attention.ts';
import { type GpuModel, gpuModels, type Part, type PartResult, variants } from './gpu-benchmark.ts';
import { productBenchmark } from './gpu-products.ts';
import { timed } from './measure.ts';
import { startTorch } from './peers/torch.ts';

const dropout = 0.1;
const warmUp = 3;
const tinyAttention = { widths: [64], sequences: [16], tokens: 16, heads: 1, milliseconds: 1 };
const notify = (line: string): void => void process.stderr.write(`${line}\n`);
const modelOf = (name: string): GpuModel => pick(gpuModels as Record<string, GpuModel>, name, 'model');

export async function runPart(part: Part, steps: number): Promise<void> {
  const result = await resultOf(part, steps).catch((error: unknown): PartResult => ({ error: messageOf(error) }));
  process.stdout.write(`\n${JSON.stringify(result)}\n`);
}

async function resultOf(part: Part, steps: number): Promise<PartResult> {
  if (part.kind === 'attention') {
    return { ...attentionBenchmark(part.tiny ? tinyAttention : {}, notify, {}, [part.variant]) };
  }
  if (part.kind === 'torch') return measureTorch(modelOf(part.model), part.batch, part.residual, steps);
  using engine = createCudaEngine({ notify, ...(part.kind === 'steps' && variants[part.variant]) });
  switch (part.kind) {
    case 'limits':
      return {
        matrixTflops: measureMatrixRate(engine, 'bf16', part.matrix) / 1e12,
        gigabytesPerSecond: measureBandwidth(engine) / 1e9,
      };
    case 'products':
      return { ...productBenchmark(engine, { sizes: part.sizes, notify }) };
    case 'steps':
      return measureSteps(engine, modelOf(part.model), part.batch, steps);
  }
}

function measureSteps(engine: Engine, model: GpuModel, batch: number, steps: number): PartResult {
  const { seq } = model;
  using training = gptStep(engine, { ...model, batch, dropout, computeType: 'bf16' });
  const { step, loss, modelFlops, palmFlops } = training;
  for (let i = 0; i < warmUp; i++) step();
  loss(); // waits
  const milliseconds = timed(() => {
    for (let i = 0; i < steps; i++) step();
    engine.synchronize();
  });
  const tokensPerSecond = (batch * seq * steps * 1000) / milliseconds;
  const palmTflops = (tokensPerSecond * palmFlops) / 1e12;
  return {
    ...{ tokensPerSecond, palmTflops, modelTflops: (tokensPerSecond * modelFlops) / 1e12 },
    ...{ stepMilliseconds: milliseconds / steps, lossAfter: loss() },
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

/** PyTorch's torch.compile with flash attention and fused AdamW on the same model; steps begin as ours do, without a wait. */
async function measureTorch(
  { layers, hidden, heads, vocabulary, seq }: GpuModel,
  batch: number,
  residual: string,
  steps: number,
): Promise<PartResult> {
  const sizes = { layers, hidden, heads, batch, seq, dropout, vocabulary };
  using peer = await startTorch({ ...sizes, residual, threads: 8, variant: 'compile-bf16', device: 'cuda' });
  await peer.steps(warmUp);
  const milliseconds = await peer.steps(steps);
  return {
    tokensPerSecond: (batch * seq * steps * 1000) / milliseconds,
    stepMilliseconds: milliseconds / steps,
    ...(await peer.finish()),
  };
}
