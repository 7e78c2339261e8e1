/** Casts between the float type and the 16-bit types, rounding to nearest even. */

import { defineKernel } from '../../tensor/kernel.ts';

/** y = x, rounded to the type of y. */
export const castTo = defineKernel('cast_to', ['floats', 'values', 'int'], (x, y, size) => {
  for (let i = 0; i < size; i++) y[i] = x[i] as number;
});

/** y = x, exactly. */
export const castFrom = defineKernel('cast_from', ['values', 'floats', 'int'], (x, y, size) => {
  for (let i = 0; i < size; i++) y[i] = x[i] as number;
});
