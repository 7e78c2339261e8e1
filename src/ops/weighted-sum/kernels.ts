/** Kernels of the weighted sum. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import { weightedSumPlan } from './cuda.ts';

/** total[0] = Σ x[i] · weights[i], added up in double precision. */
export const weightedSumForward = defineKernel(
  'weighted_sum_forward',
  ['values', 'floats', 'floats', 'int'],
  (x, weights, total, size) => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += (x[i] as number) * (weights[i] as number);
    total[0] = sum;
  },
  { cuda: weightedSumPlan },
);

/** dx[i] = dTotal[0] · weights[i], added to dx when the last argument is 1. */
export const weightedSumBackward = defineKernel(
  'weighted_sum_backward',
  ['floats', 'floats', 'values', 'int', 'int'],
  (dTotal, weights, dx, size, accumulate) => {
    for (let i = 0; i < size; i++) {
      const value = (dTotal[0] as number) * (weights[i] as number);
      dx[i] = accumulate ? (dx[i] as number) + value : value;
    }
  },
  { cost: (dTotal, weights, dx, _size, accumulate) => ({ bytes: bytesOf(dTotal, weights, dx, accumulate && dx) }) },
);
