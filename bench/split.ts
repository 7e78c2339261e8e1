/**
 * The same model and batch by one rank with N threads and by N ranks with one thread each, which split every layer; step by
 * step in turn.
 */

import { loadavg } from 'node:os';
import { EngineError } from '../src/base/errors.ts';
import { launch } from '../src/comm/launch.ts';
import { stepSizes } from './gpt-step.ts';
import { benchmarkOptions, median, report } from './measure.ts';
import type { SplitTimes, SplitWork } from './split-rank.ts';

export async function splitBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ model: '124m', precision: 'bf16', batch: '4', seq: '1024', dropout: '0', recompute: 'none' },
    ...{ ranks: '2', steps: '5' },
  });
  const work: SplitWork = { sizes: stepSizes(options), steps: Number(options.steps) };
  const results = await launch<SplitTimes>(
    ...([Number(options.ranks), new URL('./split-rank.ts', import.meta.url), work] as const),
    { threadsPerRank: 1 },
  );
  const [first] = results;
  if (!first) throw new EngineError('no rank told its times');
  const { whole, split, engine } = first;
  report(`split-${options.model}-${options.precision}-b${options.batch}-s${options.seq}-t${options.ranks}`, {
    speedOfRanksToThreads: median(whole) / median(split),
    speedOfBestSteps: Math.min(...whole) / Math.min(...split),
    load: loadavg(),
    ...{ options, engine },
    whole: { medianStepMs: median(whole), allStepsMs: whole },
    split: { medianStepMs: median(split), allStepsMs: split },
  });
}
