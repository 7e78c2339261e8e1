/**
 * Collectives by NCCL, between GPUs that each belong to one rank.
 *
 * What is waited for at once runs on the engine's stream. A reduction that is begun and finished later runs on a stream of its own,
 * beside the work that the engine gets meanwhile:
 *
 *     engine's stream:   … gradients of the bucket │ begun │ rest of backward …        │ wait for done │ norm, update …
 *     stream beside it:          wait for begun │ all-reduce │ done
 *
 * NCCL wants the calls of one communicator in the same order on all ranks, which straight-line code gives, and uses one set of buffers
 * for all of them. It puts them in order itself where their streams differ (NVIDIA/nccl#574); we do not lean on that: a call on the
 * engine's stream waits for what is under way beside it, so that the calls of a communicator run one after the other in the order of
 * the program.
 *
 * Kernels of different communicators may run at once, as a tensor group's sum in backward does with a bucket of the data group. A kernel
 * waits on its GPU for its peers, so two ranks could hold each other up for ever, if each ran the kernel that the other had no room for.
 * They have room for both, as all of the engine's own kernels end by themselves; CUDA does not promise it. So NCCL is asked to begin
 * all its kernels in the order of the program, which is the same on all ranks: `orderNcclLaunches`.
 *
 * All of it may be captured as a CUDA graph: the stream beside the engine's joins the capture by waiting for `begun`, and has come back
 * to it when every reduction is finished. Nothing is waited for that was recorded before the capture, since no reduction is under way
 * where one begins. NCCL wants all ranks to capture the same calls, and the graphs to be gone before the group is disposed; its first
 * call of a kind makes connections, and so belongs before a capture.
 */

import { joinNccl, type Nccl, ncclSum, ncclTypes, newNcclId, openNccl } from '../ffi/cuda/nccl.ts';
import type { GpuPlace } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { Communicator, Pending } from './communicator.ts';
import type { DirectGroup } from './direct-group.ts';
import { maximumOfParts } from './shared-gpu/kernels.ts';

/**
 * Joins the ranks' GPUs. Collective. The group must be disposed before the engine.
 *
 * @param path of NCCL's library
 * @param capturable whether graphs may be made of its calls
 */
export function ncclGroup(group: Communicator, gpu: GpuPlace, path: string, capturable: boolean): DirectGroup {
  const nccl = openNccl(path);
  const [id] = group.exchange(group.rank === 0 ? Buffer.from(newNcclId(nccl)).toString('base64') : null);
  const joined = joinNccl(nccl, new Uint8Array(Buffer.from(id ?? '', 'base64')), group.rank, group.size);
  return directGroup(nccl, joined, group.size, gpu, capturable);
}

const done: Pending = { finish() {} };

function directGroup(
  nccl: Nccl,
  group: bigint,
  size: number,
  { stream, streams }: GpuPlace,
  capturable: boolean,
): DirectGroup {
  const beside = streams.newStream();
  const [begun, ended] = [streams.newEvent(), streams.newEvent()];
  let underWay = 0;
  /** Lets what the engine's stream gets next wait for all that is under way beside it. */
  const join = (): void => {
    if (underWay > 0) streams.wait(stream, ended);
  };
  const sum = (tensor: Tensor, on: bigint): void => {
    const { address, size: count } = tensor;
    nccl.ncclAllReduce(address, address, count, typeOf(tensor), ncclSum, group, on);
  };
  const allGather = (input: Tensor, output: Tensor): void => {
    join();
    nccl.ncclAllGather(input.address, output.address, input.size, typeOf(input), group, stream);
  };
  return {
    way: 'NCCL',
    capturable,
    /** NCCL chooses the order of a sum: the same bits on every run of a layout on the same machine. */
    startAllReduce(tensor, operation, waitedForNow) {
      if (operation === 'max') {
        // NCCL's own maximum loses a NaN
        using parts = Tensor.empty(tensor.engine, [size, tensor.size], { dtype: tensor.dtype, kind: 'workspace' });
        allGather(tensor, parts);
        maximumOfParts(parts, tensor);
        return done;
      }
      if (waitedForNow) {
        join();
        sum(tensor, stream);
        return done;
      }
      streams.record(begun, stream);
      streams.wait(beside, begun);
      tensor.retain(); // its memory must not go to work that does not wait
      sum(tensor, beside);
      streams.record(ended, beside);
      underWay++;
      return {
        finish() {
          join();
          underWay--;
          tensor.release();
        },
      };
    },
    allGather,
    reduceScatter(input, output) {
      join();
      nccl.ncclReduceScatter(input.address, output.address, output.size, typeOf(input), ncclSum, group, stream);
    },
    broadcast(tensor, root) {
      const { address, size: count } = tensor;
      join();
      nccl.ncclBroadcast(address, address, count, typeOf(tensor), root, group, stream);
    },
    [Symbol.dispose]: () => nccl.ncclCommDestroy(group),
  };
}

function typeOf({ dtype }: Tensor): number {
  const known = (ncclTypes as Readonly<Record<string, number>>)[dtype];
  if (known === undefined) throw new TypeError(`NCCL has no ${dtype}`);
  return known;
}
