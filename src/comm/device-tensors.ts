/** Tensors on GPUs for groups whose messages go through the host's memory: fetched before a call, sent back after it. */

import { rawBytes } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Communicator } from './communicator.ts';

/**
 * The same group, for tensors in any memory. Ranks may share one GPU or have one each; what GPUs send each other directly is
 * faster. Tensors that JavaScript sees pass as they are.
 */
export function forDeviceTensors(inner: Communicator): Communicator {
  let engine: Engine | undefined;
  const isOnDevice = (tensor: Tensor): boolean => tensor.engine.backend.device !== undefined;
  /** A tensor like this one that the group can read; with its numbers where asked. */
  const hostTensor = (tensor: Tensor, contents: boolean): Tensor => {
    engine ??= createReferenceEngine();
    const host = Tensor.empty(engine, tensor.shape, { dtype: tensor.dtype });
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
  return {
    rank: inner.rank,
    size: inner.size,
    label: inner.label,
    get statistics() {
      return inner.statistics;
    },
    startAllReduce(tensor, operation) {
      if (!isOnDevice(tensor)) return inner.startAllReduce(tensor, operation);
      const host = hostTensor(tensor, true);
      const pending = inner.startAllReduce(host, operation);
      return {
        finish() {
          pending.finish();
          giveBack(host, tensor);
          host[Symbol.dispose]();
        },
      };
    },
    allGather: (input, output) => between(input, output, (from, to) => inner.allGather(from, to)),
    reduceScatter: (input, output) => between(input, output, (from, to) => inner.reduceScatter(from, to)),
    broadcast: (tensor, root) => inPlace(tensor, inner.rank !== root, (host) => inner.broadcast(host, root)),
    send: (tensor, to) => inPlace(tensor, false, (host) => inner.send(host, to)),
    receive: (tensor, from) => inPlace(tensor, true, (host) => inner.receive(host, from)),
    barrier: () => inner.barrier(),
    exchange: (value) => inner.exchange(value),
    split: (color, key, label) => forDeviceTensors(inner.split(color, key, label)),
    [Symbol.dispose]: () => inner[Symbol.dispose](),
  };
}
