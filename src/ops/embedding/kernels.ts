/** Kernels of the embedding look-up. */

import { defineKernel } from '../../tensor/kernel.ts';

/** y[row, :] = table[ids[row], :]. */
export const embeddingForward = defineKernel(
  'embedding_forward',
  ['ids', 'floats', 'floats', 'int', 'int'],
  (ids, table, y, rows, width) => {
    for (let row = 0; row < rows; row++) {
      const start = (ids[row] as number) * width;
      for (let i = 0; i < width; i++) y[row * width + i] = table[start + i] as number;
    }
  },
);

/** dTable[ids[row], :] += dy[row, :], rows in order, so that the sums are the same on every run. */
export const embeddingBackward = defineKernel(
  'embedding_backward',
  ['ids', 'floats', 'floats', 'int', 'int'],
  (ids, dy, dTable, rows, width) => {
    for (let row = 0; row < rows; row++) {
      const start = (ids[row] as number) * width;
      for (let i = 0; i < width; i++) {
        dTable[start + i] = (dTable[start + i] as number) + (dy[row * width + i] as number);
      }
    }
  },
);
