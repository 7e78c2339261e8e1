/** Kernel of the element-wise sum. */

import { defineKernel } from '../../tensor/kernel.ts';

/** y = a + b. */
export const addForward = defineKernel('add_forward', ['values', 'values', 'values', 'int'], (a, b, y, size) => {
  for (let i = 0; i < size; i++) y[i] = (a[i] as number) + (b[i] as number);
});
