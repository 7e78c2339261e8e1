/** How the weighted sum runs on a GPU: in one block, so that the order of the sum never changes. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { i64 } from '../native/cuda/plan.ts';

export function weightedSumPlan(
  _device: CudaDevice,
  x: Tensor,
  weights: Tensor,
  total: Tensor,
  size: number,
): readonly CudaStep[] {
  return [{ function: 'weighted_sum_forward', grid: [1], block: 1024, arguments: [x, weights, total, i64(size)] }];
}
