/** Kernels of softmax and log-softmax over the last dimension. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';

/** y = softmax(x) row by row, or its logarithm when `logarithm` is 1. */
export const softmaxForward = defineKernel(
  'softmax_forward',
  ['floats', 'floats', 'int', 'int', 'int'],
  (x, y, rows, width, logarithm) => {
    for (let start = 0; start < rows * width; start += width) {
      let largest = -Infinity;
      for (let i = 0; i < width; i++) largest = Math.max(largest, x[start + i] as number);
      let sum = 0;
      for (let i = 0; i < width; i++) sum += Math.exp((x[start + i] as number) - largest);
      const total = Math.log(sum);
      for (let i = 0; i < width; i++) {
        const shifted = (x[start + i] as number) - largest;
        y[start + i] = logarithm ? shifted - total : Math.exp(shifted) / sum;
      }
    }
  },
);

/** softmax: dx = y∘(dy − Σ dy∘y); log-softmax: dx = dy − eʸ·Σ dy. Added to dx when the last argument is 1. */
export const softmaxBackward = defineKernel(
  'softmax_backward',
  ['floats', 'floats', 'floats', 'int', 'int', 'int', 'int'],
  (dy, y, dx, rows, width, logarithm, accumulate) => {
    for (let start = 0; start < rows * width; start += width) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += (dy[start + i] as number) * (logarithm ? 1 : (y[start + i] as number));
      for (let i = 0; i < width; i++) {
        const upstream = dy[start + i] as number;
        const out = y[start + i] as number;
        const value = logarithm ? upstream - Math.exp(out) * sum : out * (upstream - sum);
        dx[start + i] = accumulate ? (dx[start + i] as number) + value : value;
      }
    }
  },
  { cost: (dy, y, dx, _rows, _width, _logarithm, accumulate) => ({ bytes: bytesOf(dy, y, dx, accumulate && dx) }) },
);
