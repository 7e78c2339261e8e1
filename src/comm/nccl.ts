/** Collectives that GPUs do among themselves, by NCCL, on the stream of each rank's engine. */

import { hostname } from 'node:os';
import { joinNccl, type Nccl, ncclSum, ncclTypes, newNcclId, openNccl } from '../ffi/cuda/nccl.ts';
import type { GpuPlace } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Communicator } from './communicator.ts';

/** What GPUs of a group can do without the host. */
export interface DirectGroup extends Disposable {
  /** Sums in place. NCCL chooses the order: the same bits on every run of a layout on the same machine. */
  sum(tensor: Tensor): void;
  allGather(input: Tensor, output: Tensor): void;
  reduceScatter(input: Tensor, output: Tensor): void;
  broadcast(tensor: Tensor, root: number): void;
}

const typeOf = ({ dtype }: Tensor): number | undefined => (ncclTypes as Readonly<Record<string, number>>)[dtype];

/**
 * Joins the ranks' GPUs where every rank has one of its own and NCCL. Collective: all ranks come to one answer.
 *
 * @returns undefined where ranks share a GPU, which NCCL refuses, or one has no NCCL.
 */
export function openDirectGroup(group: Communicator, gpu: GpuPlace | undefined): DirectGroup | undefined {
  const places = group.exchange(gpu?.nccl === undefined ? null : `${hostname()} ${gpu.address}`);
  if (gpu?.nccl === undefined || places.includes(null) || new Set(places).size < group.size) return undefined;
  const nccl = openNccl(gpu.nccl);
  const [id] = group.exchange(group.rank === 0 ? Buffer.from(newNcclId(nccl)).toString('base64') : null);
  const joined = joinNccl(nccl, new Uint8Array(Buffer.from(id ?? '', 'base64')), group.rank, group.size);
  return directGroup(nccl, joined, gpu.stream);
}

function directGroup(nccl: Nccl, group: bigint, stream: bigint): DirectGroup {
  const type = (tensor: Tensor): number => {
    const known = typeOf(tensor);
    if (known === undefined) throw new TypeError(`NCCL has no ${tensor.dtype}`);
    return known;
  };
  return {
    sum(tensor) {
      const { address, size } = tensor;
      nccl.ncclAllReduce(address, address, size, type(tensor), ncclSum, group, stream);
    },
    allGather: (input, output) =>
      nccl.ncclAllGather(input.address, output.address, input.size, type(input), group, stream),
    reduceScatter: (input, output) =>
      nccl.ncclReduceScatter(input.address, output.address, output.size, type(input), ncclSum, group, stream),
    broadcast(tensor, root) {
      const { address, size } = tensor;
      nccl.ncclBroadcast(address, address, size, type(tensor), root, group, stream);
    },
    [Symbol.dispose]: () => nccl.ncclCommDestroy(group),
  };
}
