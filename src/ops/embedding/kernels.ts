/** Kernels of the embedding look-up. */

import { bytesOf } from '../../tensor/cost.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import { embeddingBackwardPlan } from './cuda.ts';

/**
 * y[row, :] = table[ids[row] − first, :], or zeros where that row is not in the table: `entries` rows of a larger table, from
 * row `first` on.
 */
export const embeddingForward = defineKernel(
  'embedding_forward',
  ['ids', 'values', 'values', 'int', 'int', 'int', 'int'],
  (ids, table, y, rows, width, first, entries) => {
    for (let row = 0; row < rows; row++) {
      const entry = (ids[row] as number) - first;
      if (entry < 0 || entry >= entries) y.fill(0, row * width, (row + 1) * width);
      else for (let i = 0; i < width; i++) y[row * width + i] = table[entry * width + i] as number;
    }
  },
  { cost: (ids, _table, y) => ({ bytes: bytesOf(ids, y, y) }) },
);

/** dTable[ids[row] − first, :] += dy[row, :] where that row is in it, in order, so that the sums are the same on every run. */
export const embeddingBackward = defineKernel(
  'embedding_backward',
  ['ids', 'values', 'floats', 'int', 'int', 'int', 'int'],
  (ids, dy, dTable, rows, width, first, entries) => {
    for (let row = 0; row < rows; row++) {
      const entry = (ids[row] as number) - first;
      if (entry < 0 || entry >= entries) continue;
      const start = entry * width;
      for (let i = 0; i < width; i++) {
        dTable[start + i] = (dTable[start + i] as number) + (dy[row * width + i] as number);
      }
    }
  },
  {
    cuda: embeddingBackwardPlan,
    cost: (ids, dy, dTable) => ({ bytes: bytesOf(ids, dy) + 2 * dy.size * bytesPerElement[dTable.dtype] }),
  },
);
