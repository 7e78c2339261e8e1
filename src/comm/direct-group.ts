/** What GPUs of a group do among themselves, without the host's memory. */

import type { Tensor } from '../tensor/tensor.ts';
import type { DeviceWay, Pending, ReduceOperation } from './communicator.ts';

/**
 * Collectives whose work is on the streams of the ranks' engines when they return. The arguments have been checked.
 *
 * No call waits for a GPU. A tensor may be written, read or given back as soon as its call is over (a started one: finished), by
 * work on the engine's stream.
 */
export interface DirectGroup extends Disposable {
  readonly way: DeviceWay;
  /** Whether its calls may be part of a captured graph; see Communicator. */
  readonly capturable: boolean;
  startAllReduce(tensor: Tensor, operation: ReduceOperation, waitedForNow: boolean): Pending;
  allGather(input: Tensor, output: Tensor): void;
  reduceScatter(input: Tensor, output: Tensor): void;
  broadcast(tensor: Tensor, root: number): void;
}
