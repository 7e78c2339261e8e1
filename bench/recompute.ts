/** What recomputation saves and costs: peak activation memory and step time of one model in each mode, taking turns. */

import { loadavg } from 'node:os';
import type { Recomputation } from '../src/model/recomputation.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { gptStep, pick, precisions } from './gpt-step.ts';
import { benchmarkOptions, median, report, timed } from './measure.ts';

const full = (method: 'uniform' | 'block', numLayers: number): Recomputation => ({
  granularity: 'full',
  method,
  numLayers,
});

export async function recomputeBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ layers: '6', hidden: '512', heads: '8', seq: '512', batch: '4', vocabulary: '8192', dropout: '0.1' },
    ...{ steps: '5', threads: '2', precision: 'fp32' },
  });
  const number = (key: keyof typeof options): number => Number(options[key]);
  const sizes = {
    ...{ layers: number('layers'), hidden: number('hidden'), heads: number('heads'), seq: number('seq') },
    ...{ batch: number('batch'), vocabulary: number('vocabulary'), dropout: number('dropout') },
    computeType: pick(precisions, options.precision, 'precision'),
  };
  const half = Math.ceil(sizes.layers / 2);
  const modes: Record<string, Recomputation> = {
    none: { granularity: 'none' },
    selective: { granularity: 'selective' },
    [`full block ${half}`]: full('block', half),
    'full uniform 2': full('uniform', 2),
    'full uniform 1': full('uniform', 1),
  };
  using engines = new DisposableStack();
  const runs = [];
  for (const [name, recomputation] of Object.entries(modes)) {
    const engine = engines.use(await createEngine({ threads: number('threads'), notify: () => {} }));
    runs.push({
      name,
      engine,
      ours: gptStep(engine, { ...sizes, recomputation }),
      times: [] as number[],
      cpu: [] as number[],
    });
  }
  for (let round = 0; round < 1 + number('steps'); round++) {
    for (const { ours, times, cpu } of runs) {
      const before = process.cpuUsage();
      const milliseconds = timed(ours.step);
      const { user, system } = process.cpuUsage(before);
      if (round === 0) continue; // warms up
      times.push(milliseconds);
      cpu.push((user + system) / 1000);
    }
  }
  const [base] = runs;
  const result = runs.map(({ name, engine, ours, times, cpu }) => ({
    ...{ name, lossAfter: ours.loss(), peakActivationBytes: engine.memory.count('activations').peak },
    ...{ medianStepMs: median(times), bestStepMs: Math.min(...times) },
    // of each round's two steps, so that what else the machine does counts for both
    timeRatio: median(times.map((time, round) => time / (base?.times[round] ?? Number.NaN))),
    // processor time, which other programs disturb less
    ...{ medianCpuMs: median(cpu), bestCpuMs: Math.min(...cpu) },
    allStepsMs: times,
  }));
  report(`recompute-l${sizes.layers}-h${sizes.hidden}-v${sizes.vocabulary}-${options.precision}`, {
    load: loadavg(),
    options,
    modes: result,
  });
}
