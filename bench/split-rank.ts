/** One rank of bench/split.ts. */

import type { RankFunction } from '../src/comm/rank.ts';
import { createRankGrid } from '../src/parallel/grid.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { gptStep, type StepSizes } from './gpt-step.ts';
import { timed } from './measure.ts';

export interface SplitWork {
  readonly sizes: StepSizes;
  readonly steps: number;
}

/** Milliseconds of each step. */
export interface SplitTimes {
  /** One rank with as many threads as there are ranks. */
  readonly whole: readonly number[];
  /** Every layer split over all ranks, one thread each. */
  readonly split: readonly number[];
  readonly engine: string;
}

const warmUp = 2;

const rank: RankFunction<SplitWork, SplitTimes> = async (world, { sizes, steps }) => {
  using alone = world.rank === 0 ? await createEngine({ threads: world.size }) : undefined;
  using shared = await createEngine({ threads: 1 });
  const whole = alone && gptStep(alone, sizes);
  const split = gptStep(shared, sizes, createRankGrid(world, world.size));
  const times = { whole: [] as number[], split: [] as number[] };
  for (let round = -warmUp; round < steps; round++) {
    const wholeMs = whole ? timed(whole.step) : 0;
    world.exchange(0); // where the others sleep meanwhile
    const splitMs = Math.max(...world.exchange(timed(split.step)));
    if (round < 0) continue;
    times.whole.push(wholeMs);
    times.split.push(splitMs);
    if (whole)
      process.stderr.write(`step ${round + 1}: one rank ${wholeMs.toFixed(0)}, split ${splitMs.toFixed(0)} ms\n`);
  }
  return { ...times, engine: shared.backend.description };
};

export default rank;
