/** A communicator whose calls are watched: how long each takes on this rank, and which call of the others it belongs to. */

import { byteLengthOf } from '../tensor/cost.ts';
import type { Observer } from '../tensor/observer.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Communicator } from './communicator.ts';

/**
 * The same group, with every call told to the observer. Sub-groups are watched too; making one costs an exchange more. A group
 * of one rank has nothing to tell and stays as it is.
 */
export const observedCommunicator = (world: Communicator, observer: Observer): Communicator =>
  observedGroup(world, observer, world.rank, 'world');

/**
 * @param globalRank of this rank in the world
 * @param group words for the group that no other has
 */
function observedGroup(inner: Communicator, observer: Observer, globalRank: number, group: string): Communicator {
  if (inner.size === 1) return inner;
  let calls = 0;
  const watch = <Result>(name: string, bytes: number, body: () => Result): Result =>
    observer.during({ kind: 'collective', name, group, number: calls++, bytes, part: 'whole' }, body);
  /** Two ranks alone take part, so a number would not be the same on all. */
  const watchPair = (name: string, tensor: Tensor, body: () => void): void => {
    const bytes = byteLengthOf(tensor);
    observer.during({ kind: 'collective', name, group, number: undefined, bytes, part: 'whole' }, body);
  };
  return {
    rank: inner.rank,
    size: inner.size,
    label: inner.label,
    get statistics() {
      return inner.statistics;
    },
    get capturable() {
      return inner.capturable;
    },
    get deviceWay() {
      return inner.deviceWay;
    },
    prepare: (engine) => inner.prepare(engine),
    startAllReduce(tensor, operation, waitedForNow) {
      const name = `all-reduce ${operation}`;
      const work = { kind: 'collective', name, group, number: calls++, bytes: byteLengthOf(tensor) } as const;
      const pending = observer.during({ ...work, part: 'start' }, () =>
        inner.startAllReduce(tensor, operation, waitedForNow),
      );
      return { finish: () => observer.during({ ...work, part: 'finish' }, () => pending.finish()) };
    },
    allGather(input, output) {
      watch('all-gather', byteLengthOf(output), () => inner.allGather(input, output));
    },
    reduceScatter(input, output) {
      watch('reduce-scatter', byteLengthOf(input), () => inner.reduceScatter(input, output));
    },
    broadcast(tensor, root) {
      watch('broadcast', byteLengthOf(tensor), () => inner.broadcast(tensor, root));
    },
    send: (tensor, to) => watchPair('send', tensor, () => inner.send(tensor, to)),
    receive: (tensor, from) => watchPair('receive', tensor, () => inner.receive(tensor, from)),
    barrier() {
      watch('barrier', 0, () => inner.barrier());
    },
    exchange(value) {
      return watch('exchange', 0, () => inner.exchange(value));
    },
    split(color, key, subLabel) {
      // labels alone need not differ between groups
      const ranks = inner.exchange({ color, globalRank }).filter((one) => one.color === color);
      const part = watch('split', 0, () => inner.split(color, key, subLabel));
      return observedGroup(
        part,
        observer,
        globalRank,
        `${subLabel} of ranks ${ranks.map((one) => one.globalRank).join(', ')}`,
      );
    },
    [Symbol.dispose]: () => inner[Symbol.dispose](),
  };
}
