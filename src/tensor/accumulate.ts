/** destination += source: how gradients of a tensor with several uses come together. */

import { bytesOf } from './cost.ts';
import { defineKernel } from './kernel.ts';

export const accumulate = defineKernel(
  'accumulate',
  ['values', 'values', 'int'],
  (destination, source, size) => {
    for (let i = 0; i < size; i++) destination[i] = (destination[i] as number) + (source[i] as number);
  },
  { cost: (destination, source) => ({ bytes: bytesOf(destination, destination, source) }) },
);
