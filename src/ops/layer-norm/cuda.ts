/** How layer normalization's backward pass runs on a GPU: dx and partial sums, then the sums of these. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { addPartialSums, blockThreads, i64, scratch } from '../native/cuda/plan.ts';

/** Blocks that share the rows: a number of its own, so that dγ and dβ have the same bits on every device. */
const maxBlocks = 512;

export function layerNormBackwardPlan(
  _device: CudaDevice,
  dy: Tensor,
  x: Tensor,
  gamma: Tensor,
  mean: Tensor,
  rstd: Tensor,
  dx: Tensor,
  dGamma: Tensor,
  dBeta: Tensor,
  rows: number,
  width: number,
  accumulate: number,
): readonly CudaStep[] {
  const blocks = Math.max(1, Math.min(maxBlocks, rows));
  return [
    {
      ...{ function: 'layer_norm_backward', grid: [blocks], block: blockThreads, sharedBytes: 8 * width },
      arguments: [dy, x, gamma, mean, rstd, dx, scratch, i64(rows), i64(width), i64(accumulate)],
      workspace: 8 * blocks * width,
    },
    addPartialSums('layer_norm_add_sums', [dGamma, dBeta], blocks, width, 2 * width),
  ];
}
