/** Σ x², for the global gradient norm. */

import { defineKernel } from '../../tensor/kernel.ts';
import { sumSquaresPlan } from './cuda.ts';

/** total[0] = Σ x[i]², added up in double precision; infinite or NaN where x holds such a number. */
export const sumSquares = defineKernel(
  'sum_squares',
  ['floats', 'floats', 'int'],
  (x, total, size) => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += (x[i] as number) ** 2;
    total[0] = sum;
  },
  { cuda: sumSquaresPlan },
);
