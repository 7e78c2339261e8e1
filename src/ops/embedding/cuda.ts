/** How the embedding's gradient runs on a GPU: the first row of each id is found, whose block then adds up all rows of that id. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { blockThreads, i64, scratch, sharingBlocks } from '../native/cuda/plan.ts';

export function embeddingBackwardPlan(
  device: CudaDevice,
  ids: Tensor,
  dy: Tensor,
  dTable: Tensor,
  rows: number,
  width: number,
  first: number,
  entries: number,
): readonly CudaStep[] {
  return [
    {
      ...{ function: 'embedding_forget_rows', grid: [sharingBlocks(entries, device)], block: blockThreads },
      ...{ arguments: [scratch, i64(entries)], workspace: 4 * entries },
    },
    {
      ...{ function: 'embedding_find_rows', grid: [sharingBlocks(rows, device)], block: blockThreads },
      arguments: [ids, scratch, i64(rows), i64(first), i64(entries)],
    },
    {
      ...{ function: 'embedding_backward', grid: [rows, Math.ceil(width / 2048)], block: blockThreads },
      arguments: [ids, scratch, dy, dTable, i64(rows), i64(width), i64(first), i64(entries)],
    },
  ];
}
