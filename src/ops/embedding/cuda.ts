/** How the embedding's gradient runs on a GPU: one block for each row, and for each 2048 columns. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { blockThreads, i64 } from '../native/cuda/plan.ts';

export function embeddingBackwardPlan(
  _device: CudaDevice,
  ids: Tensor,
  dy: Tensor,
  dTable: Tensor,
  rows: number,
  width: number,
  first: number,
  entries: number,
): readonly CudaStep[] {
  const numbers = [rows, width, first, entries].map(i64);
  const grid = [rows, Math.ceil(width / 2048)] as const;
  return [{ function: 'embedding_backward', grid, block: blockThreads, arguments: [ids, dy, dTable, ...numbers] }];
}
