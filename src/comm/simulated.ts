/** A group whose other ranks are not there: what one rank of a layout does can be run without them, where numbers do not matter. */

import { byteLengthOf } from '../tensor/cost.ts';
import { expectParts, expectPeer, expectRank } from './arguments.ts';
import type { Communicator } from './communicator.ts';
import { CollectiveError } from './errors.ts';
import { StatisticsCounter } from './statistics.ts';

/**
 * Rank `rank` of a group of `size`, for the meta engine: collectives check their arguments and count their bytes, and move
 * nothing. In an exchange all ranks say what this one says.
 */
export function simulatedCommunicator(rank: number, size: number, label: string): Communicator {
  const statistics = new StatisticsCounter();
  const group = { rank, size, label };
  expectRank('simulation', group, rank);
  const count = (bytes: number): void => statistics.measure(bytes, () => {});
  return {
    ...group,
    statistics,
    capturable: false,
    deviceWay: undefined,
    prepare() {},
    startAllReduce(tensor) {
      count(byteLengthOf(tensor));
      return { finish() {} };
    },
    allGather(input, output) {
      expectParts('all-gather', group, output, input);
      count(byteLengthOf(output));
    },
    reduceScatter(input, output) {
      expectParts('reduce-scatter', group, input, output);
      count(byteLengthOf(input));
    },
    broadcast(tensor, root) {
      expectRank('broadcast', group, root);
      count(byteLengthOf(tensor));
    },
    send(tensor, to) {
      expectPeer('send', group, to);
      count(byteLengthOf(tensor));
    },
    receive(tensor, from) {
      expectPeer('receive', group, from);
      count(byteLengthOf(tensor));
    },
    barrier: () => count(0),
    exchange<Value>(value: Value): Value[] {
      count(0);
      return Array.from({ length: size }, () => structuredClone(value));
    },
    split() {
      throw new CollectiveError(`nobody knows what the other ranks of the simulated ${label} would give to a split`, {
        remedy: 'Make each group by simulatedCommunicator.',
      });
    },
    [Symbol.dispose]() {},
  };
}
