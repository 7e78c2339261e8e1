/** What launch plans have in common. */

import type { CudaArgument, CudaDevice, CudaLaunch } from '../../../tensor/launch.ts';
import type { Tensor } from '../../../tensor/tensor.ts';

/** Threads of a block where nothing speaks for another number. */
export const blockThreads = 256;

export const i64 = (number: number): CudaArgument => ({ i64: number });

/** Blocks whose threads share `items` among them and step on by the grid: enough to fill the device, no more than have work. */
export const sharingBlocks = (items: number, { multiprocessors }: CudaDevice): number =>
  Math.max(1, Math.min(8 * multiprocessors, Math.ceil(items / blockThreads)));

/** The first byte of a plan's scratch memory. */
export const scratch: CudaArgument = { workspace: 0 };

/**
 * Parts that rows are cut into for sums over them: by the matrix alone, so that a sum has the same bits on every device. 128
 * parts of one to some dozens of column blocks each fill a large GPU.
 */
export const partsOfRows = (rows: number): number => Math.max(1, Math.min(128, Math.ceil(rows / 64)));

/** Launches a function over a matrix [rows, width] by 256 columns and `partsOfRows`, with a partial sum of each in scratch. */
export function sumByParts(name: string, args: readonly CudaArgument[], rows: number, width: number): CudaLaunch {
  const parts = partsOfRows(rows);
  return {
    ...{ function: name, grid: [Math.max(1, Math.ceil(width / 256)), parts], block: blockThreads },
    ...{ arguments: args, workspace: 4 * parts * width },
  };
}

/** Adds partial sums in scratch to their destinations; `columns` in all. */
export function addPartialSums(
  name: string,
  destinations: readonly Tensor[],
  parts: number,
  width: number,
  columns: number,
): CudaLaunch {
  return {
    ...{ function: name, grid: [Math.max(1, Math.ceil(columns / 32))], block: blockThreads },
    arguments: [scratch, ...destinations, i64(parts), i64(width)],
  };
}
