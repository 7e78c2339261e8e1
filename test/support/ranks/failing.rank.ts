/** A rank of four (T=2, D=2) that trains a tiny GPT until one of them fails. */

import { DataError } from '../../../src/base/errors.ts';
import type { RankFunction } from '../../../src/comm/rank.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';
import { createReferenceEngine } from '../../../src/tensor/engines/reference.ts';
import { pretrain } from '../../../src/train/pretrain.ts';
import { tinyConfig, tinyDatasets, tinyForwardStep, tinyOptions } from '../tiny-gpt.ts';

export const ways = ['throws', 'throws in an empty loop', 'ends its thread', 'has a NaN in its weights'] as const;

export interface Failing {
  readonly way: (typeof ways)[number];
  /** Which rank fails. */
  readonly culprit: number;
  /** One float64: when it did, by `Date.now()`. */
  readonly clock: SharedArrayBuffer;
}

const rank: RankFunction<Failing, void> = async (world, { way, culprit, clock }) => {
  const grid = createRankGrid(world, 2);
  using engine = createReferenceEngine();
  const step = tinyForwardStep(engine);
  let steps = 0;
  await pretrain(
    () => new GptModel(tinyConfig(), grid.tensor),
    () => tinyDatasets({ microBatchSize: 2 }),
    (batch, model, training) => {
      if (++steps === 5 && world.rank === culprit) {
        new Float64Array(clock)[0] = Date.now();
        if (way === 'throws') throw new DataError('sample 9 is damaged', { remedy: 'Make it anew.' });
        if (way === 'ends its thread') process.exit(0);
        if (way === 'has a NaN in its weights') {
          // a weight that only this rank and its data-parallel twins have
          model.layers[0]?.queryKeyValue.weight.stored.data.fill(Number.NaN, 3, 4);
        }
      }
      // the others are not waiting for anybody, so nothing can wake them
      if (way === 'throws in an empty loop' && steps === 5) {
        if (world.rank === culprit) throw new DataError('sample 9 is damaged');
        while (true);
      }
      return step(batch, model, training);
    },
    { ...tinyOptions(engine), trainIters: 1_000_000, grid },
  );
};

export default rank;
