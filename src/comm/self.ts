/** The group of one rank: nobody to talk to. */

import { byteLengthOf } from '../tensor/cost.ts';
import { expectParts, expectPeer, expectRank } from './arguments.ts';
import type { Communicator, Pending } from './communicator.ts';
import { CollectiveError } from './errors.ts';
import { StatisticsCounter } from './statistics.ts';

/** A group with this rank alone. Its calls check their arguments as those of any group do. */
export function selfCommunicator(label = 'world of one rank'): Communicator {
  const statistics = new StatisticsCounter();
  const group = { rank: 0, size: 1, label };
  const done = (bytes: number): void => statistics.measure(bytes, () => {});
  const noPeer = (operation: string, rank: number): never => {
    expectPeer(operation, group, rank);
    throw new CollectiveError(`${operation}: the ${label} has no other rank`);
  };
  return {
    ...group,
    statistics,
    // nothing is done that a graph would miss
    capturable: true,
    deviceWay: undefined,
    prepare() {},
    startAllReduce(tensor): Pending {
      done(byteLengthOf(tensor));
      return { finish() {} };
    },
    allGather(input, output) {
      expectParts('all-gather', group, output, input);
      statistics.measure(byteLengthOf(output), () => output.copyFrom(input));
    },
    reduceScatter(input, output) {
      expectParts('reduce-scatter', group, input, output);
      statistics.measure(byteLengthOf(input), () => output.copyFrom(input));
    },
    broadcast(tensor, root) {
      expectRank('broadcast', group, root);
      done(byteLengthOf(tensor));
    },
    send: (_tensor, to) => noPeer('send', to),
    receive: (_tensor, from) => noPeer('receive', from),
    barrier: () => done(0),
    exchange<Value>(value: Value): Value[] {
      // through JSON as everywhere, so that a value that would not survive it is seen with one rank already
      return statistics.measure(0, () => [JSON.parse(JSON.stringify(value) ?? 'null') as Value]);
    },
    split: (_color, _key, subLabel) => selfCommunicator(subLabel),
    [Symbol.dispose]() {},
  };
}
