/** A rank that tells in which groups of a grid it is. */

import type { RankFunction } from '../../../src/comm/rank.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';

export interface Place {
  /** World ranks of its tensor group and of its data group, in their order. */
  readonly tensor: readonly number[];
  readonly data: readonly number[];
  /** Its own numbers in them. */
  readonly tensorRank: number;
  readonly dataRank: number;
}

const rank: RankFunction<readonly number[], Place[]> = (world, sizes) =>
  sizes.map((tensorParallelSize) => {
    const { tensor, data } = createRankGrid(world, tensorParallelSize);
    return {
      ...{ tensor: tensor.exchange(world.rank), data: data.exchange(world.rank) },
      ...{ tensorRank: tensor.rank, dataRank: data.rank },
    };
  });

export default rank;
