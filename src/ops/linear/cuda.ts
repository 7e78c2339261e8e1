/** How the kernels around a linear layer run on a GPU. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { addPartialSums, blockThreads, i64, partsOfRows, scratch, sumByParts } from '../native/cuda/plan.ts';

export function linearForwardPlan(
  device: CudaDevice,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  y: Tensor,
  rows: number,
  outputs: number,
  inputs: number,
): readonly CudaStep[] {
  const sizes = { m: rows, n: outputs, k: inputs, transposeA: false, transposeB: true, accumulate: false };
  const operands = { a: x, b: weight, c: y };
  if (!bias) return [{ product: { ...operands, ...sizes } }];
  const addBias = {
    ...{ function: 'add_bias', block: blockThreads, arguments: [y, bias, i64(rows), i64(outputs)] },
    grid: [Math.max(1, Math.min(8 * device.multiprocessors, Math.ceil((rows * outputs) / (8 * blockThreads))))],
  } as const;
  return [{ product: { ...operands, ...sizes, bias: { values: bias, addBias } } }];
}

export function biasGeluBackwardPlan(
  _device: CudaDevice,
  dy: Tensor,
  u: Tensor,
  bias: Tensor,
  du: Tensor,
  dBias: Tensor,
  rows: number,
  width: number,
  form: number,
): readonly CudaStep[] {
  const values = [dy, u, bias, du, scratch, i64(rows), i64(width), i64(form)];
  return [
    sumByParts('bias_gelu_backward', values, rows, width),
    addPartialSums('linear_add_sums', [dBias], partsOfRows(rows), width, width),
  ];
}

export function columnSumsPlan(
  _device: CudaDevice,
  x: Tensor,
  sums: Tensor,
  rows: number,
  width: number,
): readonly CudaStep[] {
  return [
    sumByParts('column_sums', [x, scratch, i64(rows), i64(width)], rows, width),
    addPartialSums('linear_add_sums', [sums], partsOfRows(rows), width, width),
  ];
}
