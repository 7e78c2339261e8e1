/** The suite that every communicator passes: plain checks that all ranks run together, with no test framework. */

import { messageOf } from '../base/errors.ts';
import type { Engine } from '../tensor/engine.ts';
import type { Communicator } from './communicator.ts';
import { checkExchange, checkOverlap, checkSplit, checkStatistics } from './conformance/groups.ts';
import { checkAllGather, checkArguments, checkBroadcast, checkMessages } from './conformance/movement.ts';
import {
  checkAllReduce,
  checkInFlight,
  checkReduceScatter,
  checkSpecialValues,
  checkViews,
} from './conformance/reductions.ts';
import { expectThat } from './conformance/values.ts';

const checks: Readonly<Record<string, (world: Communicator, engine: Engine) => void>> = {
  exchange: checkExchange,
  'all-reduce': checkAllReduce,
  'views of tensors': checkViews,
  'special values': checkSpecialValues,
  'reduce-scatter': checkReduceScatter,
  'all-gather': checkAllGather,
  broadcast: checkBroadcast,
  messages: checkMessages,
  split: checkSplit,
  'several in flight': checkInFlight,
  'overlapping groups': checkOverlap,
  'wrong arguments': checkArguments,
  statistics: checkStatistics,
};

/**
 * Runs every check; call it on all ranks of `world`, each with an engine of its own (all of one kind).
 *
 * @throws Error naming the check, the rank and the first difference.
 */
export function checkCommunicator(world: Communicator, engine: Engine): void {
  expectThat(world.rank >= 0 && world.rank < world.size, () => `rank ${world.rank} of ${world.size}`);
  const before = engine.memory.count().current;
  for (const [name, check] of Object.entries(checks)) {
    try {
      check(world, engine);
    } catch (error) {
      throw new Error(`${name}: ${messageOf(error)}`, { cause: error });
    }
    world.barrier();
    const kept = engine.memory.count().current - before;
    expectThat(kept === 0, () => `${name}: ${kept} bytes of tensors were kept`);
  }
}
