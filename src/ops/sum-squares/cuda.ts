/** How Σ x² runs on a GPU: one sum for each of a fixed number of blocks, then their sum. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { blockThreads, i64, scratch } from '../native/cuda/plan.ts';

export function sumSquaresPlan(_device: CudaDevice, x: Tensor, total: Tensor, size: number): readonly CudaStep[] {
  const blocks = Math.max(1, Math.min(1024, Math.ceil(size / 2048)));
  return [
    {
      ...{ function: 'sum_squares', grid: [blocks], block: blockThreads },
      ...{ arguments: [x, scratch, i64(size)], workspace: 8 * blocks },
    },
    { function: 'sum_squares_total', grid: [1], block: blockThreads, arguments: [scratch, total, i64(blocks)] },
  ];
}
