/** Kernels around the matrix product of a linear layer: bias, GELU and column sums. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import { gelu, geluDerivative } from '../gelu/kernels.ts';
import { multiply } from '../matmul/kernels.ts';
import { biasGeluBackwardPlan, columnSumsPlan, linearForwardPlan, productGeluSlopePlan } from './cuda.ts';

/** y [rows, outputs] = x [rows, inputs] · weightᵀ + bias, rounded once. */
export const linearForward = defineKernel(
  'linear_forward',
  ['values', 'values', 'floats?', 'values', 'int', 'int', 'int'],
  (x, weight, bias, y, rows, outputs, inputs) => {
    multiply(x, weight, y, rows, outputs, inputs, 0, 1, 0);
    if (!bias) return;
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < outputs; i++) y[row * outputs + i] = (y[row * outputs + i] as number) + (bias[i] as number);
    }
  },
  {
    cuda: linearForwardPlan,
    cost: (_x, _weight, _bias, _y, rows, outputs, inputs) => ({ flops: 2 * rows * outputs * inputs }),
  },
);

/** y[row, :] += bias, in place. */
export const addBias = defineKernel(
  'add_bias',
  ['values', 'floats', 'int', 'int'],
  (y, bias, rows, width) => {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) y[row * width + i] = (y[row * width + i] as number) + (bias[i] as number);
    }
  },
  { cost: (y, bias) => ({ bytes: bytesOf(y, y, bias) }) },
);

/** y = gelu(u + bias). `form` as in ops/gelu. */
export const biasGeluForward = defineKernel(
  'bias_gelu_forward',
  ['values', 'floats', 'values', 'int', 'int', 'int'],
  (u, bias, y, rows, width, form) => {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) {
        const at = row * width + i;
        y[at] = gelu((u[at] as number) + (bias[i] as number), form);
      }
    }
  },
);

/** du = dy · gelu′(u + bias), and dBias += Σ over rows of du. du may be u: each is read before it is written. */
export const biasGeluBackward = defineKernel(
  'bias_gelu_backward',
  ['values', 'values', 'floats', 'values', 'floats', 'int', 'int', 'int'],
  (dy, u, bias, du, dBias, rows, width, form) => {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) {
        const at = row * width + i;
        const value = (dy[at] as number) * geluDerivative((u[at] as number) + (bias[i] as number), form);
        du[at] = value;
        dBias[i] = (dBias[i] as number) + value;
      }
    }
  },
  {
    cuda: biasGeluBackwardPlan,
    cost: (dy, u, bias, du, dBias) => ({ bytes: bytesOf(dy, u, bias, du, dBias, dBias) }),
  },
);

/** du [rows, width] = (dy [rows, outputs] · weight [outputs, width]) · gelu′(u). `form` as in ops/gelu. */
export const productGeluSlope = defineKernel(
  'product_gelu_slope',
  ['values', 'values', 'values', 'values', 'int', 'int', 'int', 'int'],
  (dy, weight, u, du, rows, width, outputs, form) => {
    multiply(dy, weight, du, rows, width, outputs, 0, 0, 0);
    for (let i = 0; i < rows * width; i++) du[i] = (du[i] as number) * geluDerivative(u[i] as number, form);
  },
  {
    cuda: productGeluSlopePlan,
    cost: (_dy, _weight, _u, _du, rows, width, outputs) => ({ flops: 2 * rows * width * outputs }),
  },
);

/** sums[i] += Σ over rows of x[row, i]. */
export const columnSums = defineKernel(
  'column_sums',
  ['values', 'floats', 'int', 'int'],
  (x, sums, rows, width) => {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) sums[i] = (sums[i] as number) + (x[row * width + i] as number);
    }
  },
  {
    cuda: columnSumsPlan,
    cost: (x, sums) => ({ bytes: bytesOf(x, sums, sums) }),
  },
);
