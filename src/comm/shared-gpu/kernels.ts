/** Reductions of several places in the memory of one GPU, whoever's they are; the twin of cuda.cu. */

import { EngineError } from '../../base/errors.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import type { Kernel } from '../../tensor/kernel.ts';
import type { CudaArgument, CudaDevice, CudaLaunch } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ReduceOperation } from '../communicator.ts';

/** Places that one launch reads: each is a parameter of its own. */
export const mostPlaces = 16;

/** The numbers cross to CUDA. */
const reductionNumbers: Record<ReduceOperation, number> = { sum: 1, max: 2 };

const block = 256;
/** Numbers that a thread takes at once. */
const pack = 8;
/** Blocks for each multiprocessor: all are resident at once. */
const blocksEach = 8;

/** Addresses mean nothing to plain TypeScript, so these kernels have no reference twin. */
const gpuOnly = (): never => {
  throw new EngineError('ranks share the memory of a GPU on the cuda engine only');
};

export interface PlacesReduction {
  /** Addresses of the first elements, in the order in which they are combined; at most 16. */
  readonly sources: readonly bigint[];
  /** Where the result goes: into every source where not given. It may be one of them. */
  readonly destination?: bigint;
  readonly count: number;
  /** A tensor of the same type, on the engine that does it. */
  readonly like: Tensor;
  readonly operation: ReduceOperation;
}

/** Combines elements one after the other in the order of the sources, in float32, rounded once. A maximum keeps a NaN. */
export function combinePlaces(reduction: PlacesReduction): void {
  const { sources, destination, count, like, operation } = reduction;
  if (count <= 0) return;
  const whole = like.dtype === 'i32';
  if (sources.length > mostPlaces) throw new RangeError(`${sources.length} places, ${mostPlaces} at most`);
  const launch = ({ multiprocessors }: CudaDevice): CudaLaunch => ({
    function: whole ? 'combine_int_places' : 'combine_places',
    grid: [Math.min(Math.ceil(count / (block * pack)), blocksEach * multiprocessors)],
    block,
    arguments: [
      ...Array.from({ length: mostPlaces }, (_, place) => argumentOf(sources[place])),
      argumentOf(destination),
      { i32: sources.length },
      { i64: count },
      { i32: reductionNumbers[operation] },
    ],
  });
  const kernel: Kernel = {
    name: 'combine_places',
    parameters: [whole ? 'ids' : 'values'],
    takesValues: !whole,
    reference: gpuOnly,
    cuda: (device) => [launch(device)],
  };
  like.engine.backend.run(kernel, [like]);
}

const argumentOf = (address: bigint | undefined): CudaArgument => (address === undefined ? undefined : { address });

/** Maxima of any number of parts [parts, n] into a tensor [n] that is none of them; a NaN wins. */
export function maximumOfParts(parts: Tensor, tensor: Tensor): void {
  const count = tensor.size;
  const bytes = BigInt(count * bytesPerElement[tensor.dtype]);
  const sources = Array.from(
    { length: count === 0 ? 0 : parts.size / count },
    (_, i) => parts.address + BigInt(i) * bytes,
  );
  const combine = (places: readonly bigint[]): void =>
    combinePlaces({ sources: places, destination: tensor.address, count, like: tensor, operation: 'max' });
  combine(sources.slice(0, mostPlaces));
  for (let begin = mostPlaces; begin < sources.length; begin += mostPlaces - 1) {
    combine([tensor.address, ...sources.slice(begin, begin + mostPlaces - 1)]);
  }
}
