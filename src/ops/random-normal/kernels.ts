/** Normal random numbers by global element index: the initial weights are the same in every layout. */

import { defineKernel } from '../../tensor/kernel.ts';
import { philox4x32 } from '../../tensor/philox.ts';

/**
 * x[r, c] = deviation · z(e) for the global element e = (firstRow + r)·globalWidth + firstColumn + c of the parameter whose
 * stream is `stream`. z comes from Philox with key (seed, stream), counter ⌊e/4⌋, by Box–Muller on pairs of words.
 */
export const randomNormal = defineKernel(
  'random_normal',
  ['floats', 'int', 'int', 'int', 'int', 'int', 'float', 'uint32', 'uint32'],
  (x, rows, width, globalWidth, firstRow, firstColumn, deviation, seed, stream) => {
    const words = new Uint32Array(4);
    const normals = new Float64Array(4);
    let made = -1;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < width; column++) {
        const element = (firstRow + row) * globalWidth + firstColumn + column;
        const block = Math.floor(element / 4);
        if (block !== made) {
          philox4x32([block >>> 0, Math.floor(block / 2 ** 32), 0, 0], [seed, stream], words);
          for (let pair = 0; pair < 4; pair += 2) {
            const radius = Math.sqrt(-2 * Math.log(((words[pair] as number) + 0.5) / 2 ** 32));
            const angle = (2 * Math.PI * ((words[pair + 1] as number) + 0.5)) / 2 ** 32;
            normals[pair] = radius * Math.cos(angle);
            normals[pair + 1] = radius * Math.sin(angle);
          }
          made = block;
        }
        x[row * width + column] = deviation * (normals[element % 4] as number);
      }
    }
  },
);
