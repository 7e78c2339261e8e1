/** Tensors on GPUs: from GPU to GPU where the ranks can, else through the host's memory, fetched and sent back. */

import { byteLengthOf } from '../tensor/cost.ts';
import { rawBytes } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { Tensor } from '../tensor/tensor.ts';
import { expectParts, expectRank } from './arguments.ts';
import type { Communicator, Pending, ReduceOperation } from './communicator.ts';
import type { DirectGroup } from './direct-group.ts';
import { openDirectGroup } from './open-direct-group.ts';
import { selfCommunicator } from './self.ts';
import { StatisticsCounter } from './statistics.ts';

/**
 * The same group, for tensors in any memory. Ranks may share one GPU or have one each. Tensors that JavaScript sees pass as
 * they are.
 */
export function forDeviceTensors(inner: Communicator): Communicator {
  // one that is alone moves nothing, wherever its tensors are
  if (inner.size === 1) return { ...selfCommunicator(inner.label), [Symbol.dispose]: () => inner[Symbol.dispose]() };
  let hostEngine: Engine | undefined;
  const isOnDevice = (tensor: Tensor): boolean => tensor.engine.backend.device !== undefined;
  /** A tensor like this one that the group can read; with its numbers where asked. */
  const hostTensor = (tensor: Tensor, contents: boolean): Tensor => {
    hostEngine ??= createReferenceEngine();
    const host = Tensor.empty(hostEngine, tensor.shape, { dtype: tensor.dtype });
    if (contents) host.bytes.set(rawBytes(tensor.read()));
    return host;
  };
  const giveBack = (host: Tensor, tensor: Tensor): void => tensor.writeBytes((bytes) => bytes.set(host.bytes));
  const between = (input: Tensor, output: Tensor, call: (input: Tensor, output: Tensor) => void): void => {
    if (!isOnDevice(input)) {
      call(input, output);
      return;
    }
    using from = hostTensor(input, true);
    using to = hostTensor(output, false);
    call(from, to);
    giveBack(to, output);
  };
  const inPlace = (tensor: Tensor, changes: boolean, call: (tensor: Tensor) => void): void => {
    if (!isOnDevice(tensor)) {
      call(tensor);
      return;
    }
    using host = hostTensor(tensor, true);
    call(host);
    if (changes) giveBack(host, tensor);
  };
  let direct: DirectGroup | undefined;
  let decidedFor: Engine | undefined;
  /** Decided together; what was made for another engine has ended with it. */
  const prepare = (engine: Engine): void => {
    if (engine.backend.device === undefined || engine === decidedFor) return;
    direct = openDirectGroup(inner, engine.backend.gpu);
    decidedFor = engine;
  };
  /** What the GPUs do among themselves, for tensors in their memory. */
  const directFor = (tensor: Tensor): DirectGroup | undefined => {
    if (!isOnDevice(tensor)) return undefined;
    prepare(tensor.engine);
    return direct;
  };
  // counts the calls alone, not what deciding and fetching costs in calls
  const statistics = new StatisticsCounter();
  const measured = (tensor: Tensor | undefined, body: () => void): void =>
    statistics.measure(tensor === undefined ? 0 : byteLengthOf(tensor), body);
  const allReduce = (tensor: Tensor, operation: ReduceOperation, waitedForNow: boolean): Pending => {
    const group = directFor(tensor);
    if (group) return group.startAllReduce(tensor, operation, waitedForNow);
    if (!isOnDevice(tensor)) return inner.startAllReduce(tensor, operation, waitedForNow);
    const host = hostTensor(tensor, true);
    const pending = inner.startAllReduce(host, operation, waitedForNow);
    return {
      finish() {
        pending.finish();
        giveBack(host, tensor);
        host[Symbol.dispose]();
      },
    };
  };
  return {
    rank: inner.rank,
    size: inner.size,
    label: inner.label,
    statistics,
    prepare,
    get deviceWay() {
      return decidedFor && (direct?.way ?? 'host');
    },
    get capturable() {
      return direct?.capturable ?? false;
    },
    startAllReduce(tensor, operation, waitedForNow = false) {
      const pending = statistics.measure(byteLengthOf(tensor), () => allReduce(tensor, operation, waitedForNow));
      return { finish: () => statistics.prolong(() => pending.finish()) };
    },
    allGather(input, output) {
      expectParts('all-gather', inner, output, input);
      measured(output, () => {
        const group = directFor(input);
        if (group) group.allGather(input, output);
        else between(input, output, (from, to) => inner.allGather(from, to));
      });
    },
    reduceScatter(input, output) {
      expectParts('reduce-scatter', inner, input, output);
      measured(input, () => {
        const group = directFor(input);
        if (group) group.reduceScatter(input, output);
        else between(input, output, (from, to) => inner.reduceScatter(from, to));
      });
    },
    broadcast(tensor, root) {
      expectRank('broadcast', inner, root);
      measured(tensor, () => {
        const group = directFor(tensor);
        if (group) group.broadcast(tensor, root);
        else inPlace(tensor, inner.rank !== root, (host) => inner.broadcast(host, root));
      });
    },
    send: (tensor, to) => measured(tensor, () => inPlace(tensor, false, (host) => inner.send(host, to))),
    receive: (tensor, from) => measured(tensor, () => inPlace(tensor, true, (host) => inner.receive(host, from))),
    barrier: () => measured(undefined, () => inner.barrier()),
    exchange: (value) => statistics.measure(0, () => inner.exchange(value)),
    split: (color, key, label) => forDeviceTensors(inner.split(color, key, label)),
    [Symbol.dispose]() {
      direct?.[Symbol.dispose]();
      inner[Symbol.dispose]();
    },
  };
}
