/** How ranks talk to each other: one small interface, whatever carries the messages (nobody, threads, MPI). */

import type { Engine } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';

export const reduceOperations = ['sum', 'max'] as const;
export type ReduceOperation = (typeof reduceOperations)[number];

/** What a communicator has done so far; the numbers only grow, and sub-groups count for themselves. */
export interface CommStatistics {
  /** Collectives, sends and receives. */
  readonly calls: number;
  /** Bytes of the tensors reduced, gathered or sent; of a gather or scatter the longer tensor. */
  readonly bytes: number;
  /** Time spent inside the calls, waiting for other ranks included. */
  readonly seconds: number;
}

/**
 * How the numbers of tensors on GPUs get from rank to rank: by NCCL, in the memory of a GPU that all ranks share, or through the
 * host's memory.
 */
export type DeviceWay = 'NCCL' | 'shared GPU' | 'host';

/** A collective that has begun. */
export interface Pending {
  /**
   * Blocks until the tensor holds the result, or where it is on a device, until all that the device is given from now on sees the
   * result. Must be called exactly once, in the order of the starts, on every rank.
   */
  finish(): void;
}

/**
 * A group of ranks. Collectives block, must be called by every rank of the group in the same order, and work in place on
 * contiguous tensors (float32, bfloat16, int32; sums of bfloat16 are added up in float32). Sums run over the ranks in rank
 * order, so a given layout gives the same bits on every run. A maximum keeps a NaN, whichever rank has it.
 *
 * When any rank of the run fails, every blocked or later call on the others throws a `RankFailure` that carries the
 * first error, within seconds.
 */
export interface Communicator extends Disposable {
  /** Number of this rank in the group. */
  readonly rank: number;
  readonly size: number;
  /** Words for messages: `tensor group of ranks 0, 1`. */
  readonly label: string;
  readonly statistics: CommStatistics;
  /**
   * Decides how tensors of this engine will go from rank to rank, and makes what that needs. Collective. The first collective on
   * such a tensor does it where nobody has.
   */
  prepare(engine: Engine): void;
  /** What `prepare` decided; undefined before, and where tensors lie in the host's memory. */
  readonly deviceWay: DeviceWay | undefined;
  /**
   * Whether collectives may run while a CUDA graph is captured, and so be part of it: they put work on streams, and do nothing
   * on the host that would be missing when the graph runs again. Sends and exchanges never may. False before `prepare`.
   */
  readonly capturable: boolean;
  /**
   * Begins a reduction over all ranks into every rank's `tensor`.
   *
   * @param waitedForNow whether nothing is done before `finish`, so that the reduction needs no stream of its own
   */
  startAllReduce(tensor: Tensor, operation: ReduceOperation, waitedForNow?: boolean): Pending;
  /** output [size · n] = the inputs [n] of all ranks, in rank order. */
  allGather(input: Tensor, output: Tensor): void;
  /** output [n] = this rank's part of the sum over ranks of input [size · n]. */
  reduceScatter(input: Tensor, output: Tensor): void;
  /** Every rank's `tensor` becomes that of rank `root`. */
  broadcast(tensor: Tensor, root: number): void;
  /** Blocks until rank `to` has received; two ranks that send to each other at once would wait for ever. */
  send(tensor: Tensor, to: number): void;
  receive(tensor: Tensor, from: number): void;
  barrier(): void;
  /** Small JSON values of all ranks, in rank order: names, records, decisions; not for tensors. */
  exchange<Value>(value: Value): Value[];
  /** Groups of the ranks that give the same `color`, ordered by `key`, then by rank. Collective. */
  split(color: number, key: number, label: string): Communicator;
}

/** Reduces in place, and waits for it. */
export function allReduce(group: Communicator, tensor: Tensor, operation: ReduceOperation = 'sum'): void {
  group.startAllReduce(tensor, operation, true).finish();
}
