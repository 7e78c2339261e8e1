/**
 * Collectives of ranks that are threads of one process and share a GPU: they read and write each other's tensors. Nobody waits
 * for the GPU. The threads meet twice in a call, and events put what they gave to their streams in order:
 *
 *     this rank's stream:  … work │ ready │ wait for the others' ready │ reads, sums, writes │ done │ wait for the others' done │ work …
 *
 * A tensor is only read when its rank's work before the call is done, and only changed or given back when nobody reads it any
 * more. An event is recorded again in the next call at the earliest, which nobody begins before all have ended this one. What a
 * stream waits for was given to another stream before the wait was given to this one, so no two wait for each other.
 */

import { byteLengthOf } from '../../tensor/cost.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import type { GpuPlace } from '../../tensor/engine.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { DirectGroup } from '../direct-group.ts';
import { kindOf } from '../threads/calls.ts';
import type { LendingCall, ThreadsCommunicator } from '../threads/communicator.ts';
import { combinePlaces, mostPlaces } from './kernels.ts';

/** Ranks that may share a GPU without going through the host. */
export const mostSharing = mostPlaces;

/** What one rank tells the others, as text: JSON has no 64-bit integers. */
interface Handles {
  readonly ready: string;
  readonly stream: string;
}

/** Parts of a sum begin at whole packs of numbers, so that all are read and written 16 bytes at a time. */
const partAlignment = 64;
const partBegin = (count: number, part: number, parts: number): number =>
  Math.min(count, Math.ceil((count * part) / parts / partAlignment) * partAlignment);

/** Collective. All ranks' engines are on one GPU, and so in the one primary context that a process has of it. */
export function sharedGpuGroup(threads: ThreadsCommunicator, { stream, streams }: GpuPlace): DirectGroup {
  const { rank, size } = threads;
  const [ready, done] = [streams.newEvent(), streams.newEvent()];
  const handles = threads.exchange<Handles>({ ready: String(ready), stream: String(stream) });
  const others = handles
    .filter((_, other) => other !== rank)
    .map((other) => ({ ready: BigInt(other.ready), stream: BigInt(other.stream) }));

  /** @param work gives this rank's part to its stream; it gets the addresses that all ranks lend, in rank order */
  const meet = (
    call: Pick<LendingCall, 'kind' | 'count' | 'root' | 'tensors'>,
    lent: Tensor,
    work: (addresses: readonly bigint[]) => void,
  ): void =>
    threads.lend({
      ...call,
      address: lent.address,
      publish: () => streams.record(ready, stream),
      work: (addresses) => {
        for (const other of others) streams.wait(stream, other.ready);
        work(addresses);
        streams.record(done, stream);
        // Given to the others' streams here, and not by them: they go on when all have, and then nobody needs our events.
        for (const other of others) streams.wait(other.stream, done);
      },
    });

  const copy = (tensor: Tensor, to: bigint, from: bigint, bytes: number): void => {
    if (to !== from) tensor.engine.backend.device?.copy(to, from, bytes);
  };

  return {
    way: 'shared GPU',
    // the graph would be replayed without the threads' meetings
    capturable: false,
    startAllReduce(tensor, operation) {
      const { dtype, size: count } = tensor;
      const kind = kindOf('all-reduce', dtype, operation, 'shared GPU');
      // each rank reduces its part, for all
      meet({ kind, count, tensors: [tensor] }, tensor, (addresses) => {
        const begin = partBegin(count, rank, size);
        const sources = addresses.map((address) => address + BigInt(begin * bytesPerElement[dtype]));
        combinePlaces({ sources, count: partBegin(count, rank + 1, size) - begin, like: tensor, operation });
      });
      return { finish() {} };
    },
    allGather(input, output) {
      const kind = kindOf('all-gather', input.dtype, undefined, 'shared GPU');
      meet({ kind, count: input.size, tensors: [input, output] }, input, (addresses) => {
        const bytes = byteLengthOf(input);
        for (const [other, from] of addresses.entries()) {
          copy(output, output.address + BigInt(other * bytes), from, bytes);
        }
      });
    },
    reduceScatter(input, output) {
      const kind = kindOf('reduce-scatter', input.dtype, 'sum', 'shared GPU');
      meet({ kind, count: input.size, tensors: [input, output] }, input, (addresses) => {
        const offset = BigInt(rank * byteLengthOf(output));
        const sources = addresses.map((address) => address + offset);
        combinePlaces({ sources, destination: output.address, count: output.size, like: output, operation: 'sum' });
      });
    },
    broadcast(tensor, root) {
      const kind = kindOf('broadcast', tensor.dtype, undefined, 'shared GPU');
      meet({ kind, count: tensor.size, root, tensors: [tensor] }, tensor, (addresses) => {
        copy(tensor, tensor.address, addresses[root] ?? tensor.address, byteLengthOf(tensor));
      });
    },
    [Symbol.dispose]() {
      // its events end with the engine
    },
  };
}
