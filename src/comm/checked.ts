/** `--debug-collectives`: before each collective the ranks compare what they are about to do, down to the calling line. */

import { byteLengthOf } from '../tensor/cost.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Communicator } from './communicator.ts';
import { CollectiveError } from './errors.ts';
import { StatisticsCounter } from './statistics.ts';

/** What a rank says that it does, and from where. */
interface Announcement {
  readonly call: string;
  readonly at: string;
}

const describe = ({ dtype, shape }: Tensor): string => `${dtype} ${formatShape(shape)}`;

/** The line that called the communicator: the first frame outside `src/comm`. */
function callingLine(): string {
  const frames = (new Error().stack ?? '').split('\n').slice(1);
  const outside = frames.find((frame) => !/[\\/]comm[\\/](?:checked|communicator|observed)\.[jt]s/.test(frame));
  return outside?.trim().replace(/^at /, '') ?? 'an unknown place';
}

/**
 * The same group, with every collective checked: operation, element type, shape, root and number must be the same on all
 * ranks. Each costs an `exchange`. Sub-groups are checked too.
 *
 * @throws CollectiveError from the call that differs, on every rank, naming each rank's call and line.
 */
export function checkedCommunicator(inner: Communicator): Communicator {
  let number = 0;
  const announce = (call: string): void => {
    number++;
    const all = inner.exchange<Announcement>({ call: `${call} #${number}`, at: callingLine() });
    if (new Set(all.map((one) => one.call)).size === 1) return;
    const sides = all.map(({ call: theirs, at }, rank) => `rank ${rank}: ${theirs} at ${at}`);
    throw new CollectiveError(`the ranks of the ${inner.label} make different calls:\n  ${sides.join('\n  ')}`, {
      remedy: 'Every rank of a group must make the same calls in the same order.',
    });
  };
  // counts the calls alone, not what checking them costs
  const statistics = new StatisticsCounter();
  const checked = (tensor: Tensor | undefined, call: string, body: () => void): void => {
    announce(call);
    statistics.measure(tensor === undefined ? 0 : byteLengthOf(tensor), body);
  };
  return {
    rank: inner.rank,
    size: inner.size,
    label: inner.label,
    statistics,
    // a graph would leave the comparisons out
    capturable: false,
    get deviceWay() {
      return inner.deviceWay;
    },
    prepare(engine) {
      announce('prepare');
      inner.prepare(engine);
    },
    startAllReduce(tensor, operation, waitedForNow) {
      announce(`all-reduce ${operation} ${describe(tensor)}`);
      const pending = statistics.measure(byteLengthOf(tensor), () =>
        inner.startAllReduce(tensor, operation, waitedForNow),
      );
      return { finish: () => statistics.prolong(() => pending.finish()) };
    },
    allGather(input, output) {
      const call = `all-gather ${describe(input)} into ${describe(output)}`;
      checked(output, call, () => inner.allGather(input, output));
    },
    reduceScatter(input, output) {
      const call = `reduce-scatter ${describe(input)} into ${describe(output)}`;
      checked(input, call, () => inner.reduceScatter(input, output));
    },
    broadcast(tensor, root) {
      checked(tensor, `broadcast ${describe(tensor)} from rank ${root}`, () => inner.broadcast(tensor, root));
    },
    send: (tensor, to) => statistics.measure(byteLengthOf(tensor), () => inner.send(tensor, to)),
    receive: (tensor, from) => statistics.measure(byteLengthOf(tensor), () => inner.receive(tensor, from)),
    barrier: () => checked(undefined, 'barrier', () => inner.barrier()),
    exchange(value) {
      announce('exchange');
      return statistics.measure(0, () => inner.exchange(value));
    },
    split(color, key, label) {
      announce(`split '${label}'`);
      return checkedCommunicator(inner.split(color, key, label));
    },
    [Symbol.dispose]: () => inner[Symbol.dispose](),
  };
}
