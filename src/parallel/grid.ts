/** The grid of ranks: which of them share a model, and which hold the same part of it (paper, Appendix B.1). */

import { UsageError } from '../base/errors.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';

/**
 * Groups of this rank. Tensor ranks are consecutive, data ranks are strided, as Megatron's: 8 ranks at T = 2 give the tensor
 * groups 0 1, 2 3, 4 5, 6 7 and the data groups 0 2 4 6, 1 3 5 7.
 */
export interface RankGrid {
  readonly world: Communicator;
  /** The ranks that split one model. */
  readonly tensor: Communicator;
  /** The ranks that hold the same part of the model and see other data. */
  readonly data: Communicator;
}

/** The grid of a run with one rank. */
export function soloGrid(): RankGrid {
  const world = selfCommunicator();
  return { world, tensor: world, data: world };
}

/**
 * Collective over the world.
 *
 * @throws UsageError when the ranks do not divide into tensor groups.
 */
export function createRankGrid(world: Communicator, tensorParallelSize: number): RankGrid {
  const { rank, size } = world;
  if (!Number.isInteger(tensorParallelSize) || tensorParallelSize < 1) {
    throw new UsageError(`there are no tensor groups of ${tensorParallelSize} ranks`, {
      remedy: 'Give a whole number of ranks, 1 or more.',
    });
  }
  if (size % tensorParallelSize !== 0) {
    const below = Math.floor(size / tensorParallelSize) * tensorParallelSize;
    const nearest = below > 0 ? `${below} or ${below + tensorParallelSize}` : `${tensorParallelSize}`;
    const ranks = size === 1 ? 'one rank does' : `${size} ranks do`;
    throw new UsageError(`${ranks} not divide into tensor groups of ${tensorParallelSize}`, {
      remedy: `Start ${nearest} ranks (--nproc-per-node, or mpirun -np), or choose a --tensor-model-parallel-size that divides ${size}.`,
    });
  }
  const model = Math.floor(rank / tensorParallelSize);
  const part = rank % tensorParallelSize;
  return {
    world,
    tensor: world.split(model, rank, 'tensor group'),
    data: world.split(part, rank, 'data group'),
  };
}
