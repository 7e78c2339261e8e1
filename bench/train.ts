/** Whole training steps of a GPT-2 model, ours and PyTorch's taking turns. */

import { loadavg } from 'node:os';
import type { Engine } from '../src/tensor/engine.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { gptStep, stepSizes } from './gpt-step.ts';
import { benchmarkOptions, median, report, timed } from './measure.ts';
import { startTorch, type TorchOptions, type TorchPeer, torchVariants } from './peers/torch.ts';

/**
 * `--peer torch` first gives each variant of PyTorch (eager and torch.compile, fp32 and bf16 autocast) two steps, and then
 * takes turns with the fastest.
 */
export async function trainBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ model: '124m', precision: 'bf16', batch: '4', seq: '1024', steps: '5', threads: '2', dropout: '0' },
    ...{ recompute: 'none', peer: 'none', variants: torchVariants.join(',') },
  });
  const sizes = stepSizes(options);
  const threads = Number(options.threads);
  const variants = options.peer === 'torch' ? options.variants.split(',') : [];
  const trials = variants.length > 1 ? await tryVariants({ ...sizes, threads }, variants) : [];
  const fastest = trials.toSorted((a, b) => a.bestStepMs - b.bestStepMs)[0]?.variant ?? variants[0];

  using peer = fastest === undefined ? undefined : await startTorch({ ...sizes, threads, variant: fastest });
  using engine = await createEngine({ threads, notify: (message) => process.stderr.write(`${message}\n`) });
  const ours = gptStep(engine, sizes);
  const times = await takeTurns(ours.step, peer, Number(options.steps));
  const tokens = sizes.batch * sizes.seq;
  const describe = (milliseconds: readonly number[]): object => {
    const ms = median(milliseconds);
    const perSecond = (tokens * 1000) / ms;
    return {
      medianStepMs: ms,
      bestStepMs: Math.min(...milliseconds),
      tokensPerSecond: perSecond,
      modelTflops: (perSecond * ours.modelFlops) / 1e12,
      palmTflops: (perSecond * ours.palmFlops) / 1e12,
      allStepsMs: milliseconds,
    };
  };
  const { model, precision, batch, seq, dropout } = options;
  report(`train-${model}-${precision}-b${batch}-s${seq}-d${dropout}${peer ? '-torch' : ''}`, {
    ...(peer
      ? {
          speedRatioToTorch: median(times.torch) / median(times.ours),
          speedRatioOfBestSteps: Math.min(...times.torch) / Math.min(...times.ours),
        }
      : {}),
    load: loadavg(),
    options,
    engine: engine.backend.description,
    ours: { ...describe(times.ours), lossAfter: ours.loss(), ...memoryOf(engine) },
    ...(peer ? { torch: { variant: fastest, ...describe(times.torch), ...(await peer.finish()) }, trials } : {}),
  });
}

const memoryOf = (engine: Engine): object => ({
  peakTensorBytes: engine.memory.count().peak,
  peakResidentBytes: process.resourceUsage().maxRSS * 1024,
});

interface Trial extends Record<string, unknown> {
  readonly variant: string;
  readonly bestStepMs: number;
}

/** Two steps of each variant after two for warming up, one variant at a time: together they would not fit into memory. */
async function tryVariants(sizes: Omit<TorchOptions, 'variant'>, variants: readonly string[]): Promise<Trial[]> {
  const trials: Trial[] = [];
  for (const variant of variants) {
    using peer = await startTorch({ ...sizes, variant });
    const times: number[] = [];
    for (let i = 0; i < 4; i++) times.push(await peer.step());
    const bestStepMs = Math.min(...times.slice(2));
    process.stderr.write(`PyTorch ${variant}: ${bestStepMs.toFixed(0)} ms a step\n`);
    trials.push({ variant, bestStepMs, ...(await peer.finish()) });
  }
  return trials;
}

/** Two warm-up steps each, then a step of ours, a step of theirs, and again. */
async function takeTurns(
  step: () => void,
  peer: TorchPeer | undefined,
  steps: number,
): Promise<{ ours: number[]; torch: number[] }> {
  for (let i = 0; i < 2; i++) {
    step();
    await peer?.step();
  }
  const times = { ours: [] as number[], torch: [] as number[] };
  for (let i = 0; i < steps; i++) {
    times.ours.push(timed(step));
    if (peer) times.torch.push(await peer.step());
    process.stderr.write(`step ${i + 1}/${steps}: ours ${times.ours[i]?.toFixed(0)} ms`);
    process.stderr.write(peer ? `, torch ${times.torch[i]?.toFixed(0)} ms\n` : '\n');
  }
  return times;
}
