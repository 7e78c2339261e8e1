/** Kernel of the element-wise product. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';

/** y = a ∘ b, added to y when the last argument is 1. */
export const multiplyForward = defineKernel(
  'multiply_forward',
  ['values', 'values', 'values', 'int', 'int'],
  (a, b, y, size, accumulate) => {
    for (let i = 0; i < size; i++) y[i] = (accumulate ? (y[i] as number) : 0) + (a[i] as number) * (b[i] as number);
  },
  { cost: (a, b, y, _size, accumulate) => ({ bytes: bytesOf(a, b, y, accumulate && y) }) },
);
