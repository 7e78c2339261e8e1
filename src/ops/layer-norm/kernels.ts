/** Kernels of layer normalization, and their plain-TypeScript twins. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import { layerNormBackwardPlan } from './cuda.ts';

/** x [rows, width] → y [rows, width], and each row's mean and 1/√(variance + ε). */
export const layerNormForward = defineKernel(
  'layer_norm_forward',
  ['values', 'floats', 'floats', 'values', 'floats', 'floats', 'int', 'int', 'float'],
  (x, gamma, beta, y, mean, rstd, rows, width, epsilon) => {
    for (let row = 0; row < rows; row++) {
      const start = row * width;
      let sum = 0;
      for (let i = 0; i < width; i++) sum += x[start + i] as number;
      const average = sum / width;
      let squares = 0;
      for (let i = 0; i < width; i++) squares += ((x[start + i] as number) - average) ** 2;
      const inverse = 1 / Math.sqrt(squares / width + epsilon);
      for (let i = 0; i < width; i++) {
        const normal = ((x[start + i] as number) - average) * inverse;
        y[start + i] = normal * (gamma[i] as number) + (beta[i] as number);
      }
      mean[row] = average;
      rstd[row] = inverse;
    }
  },
);

/**
 * With x̂ = (x − mean)·rstd and g = dy·γ:  dx = rstd · (g − mean(g) − x̂·mean(g·x̂)),  dγ += Σ dy·x̂,  dβ += Σ dy.
 * The last argument says whether dx is added to.
 */
export const layerNormBackward = defineKernel(
  'layer_norm_backward',
  ['values', 'values', 'floats', 'floats', 'floats', 'values', 'floats', 'floats', 'int', 'int', 'int'],
  (dy, x, gamma, mean, rstd, dx, dGamma, dBeta, rows, width, accumulate) => {
    for (let row = 0; row < rows; row++) {
      const start = row * width;
      const average = mean[row] as number;
      const inverse = rstd[row] as number;
      let sum = 0;
      let sumNormal = 0;
      for (let i = 0; i < width; i++) {
        const normal = ((x[start + i] as number) - average) * inverse;
        const upstream = dy[start + i] as number;
        const g = upstream * (gamma[i] as number);
        sum += g;
        sumNormal += g * normal;
        dGamma[i] = (dGamma[i] as number) + upstream * normal;
        dBeta[i] = (dBeta[i] as number) + upstream;
      }
      for (let i = 0; i < width; i++) {
        const normal = ((x[start + i] as number) - average) * inverse;
        const g = (dy[start + i] as number) * (gamma[i] as number);
        const value = inverse * (g - sum / width - (normal * sumNormal) / width);
        dx[start + i] = accumulate ? (dx[start + i] as number) + value : value;
      }
    }
  },
  {
    cuda: layerNormBackwardPlan,
    cost: (dy, x, gamma, mean, rstd, dx, dGamma, dBeta, _rows, _width, accumulate) => ({
      bytes: bytesOf(dy, x, gamma, mean, rstd, dx, dGamma, dGamma, dBeta, dBeta, accumulate && dx),
    }),
  },
);
