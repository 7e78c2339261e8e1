/** How the kernels around a linear layer run on a GPU. */

import { isHalf } from '../../tensor/dtype.ts';
import type { CudaDevice, CudaLaunch, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { geluForms } from '../gelu/kernels.ts';
import {
  addPartialSums,
  blockThreads,
  i64,
  partsOfRows,
  scratch,
  sharingBlocks,
  sumByParts,
} from '../native/cuda/plan.ts';

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
  const product = {
    ...{ a: x, b: weight, c: y, m: rows, n: outputs, k: inputs },
    ...{ transposeA: false, transposeB: true, accumulate: false },
  };
  if (!bias) return [{ product }];
  const addBias: CudaLaunch = {
    ...{ function: 'add_bias', grid: [blocksFor(rows * outputs, device)], block: blockThreads },
    arguments: [y, bias, i64(rows), i64(outputs)],
  };
  const otherwise = [{ product }, addBias];
  if (bias.dtype === y.dtype) return [{ fused: product, epilogue: { kind: 'bias', bias }, before: [], otherwise }];
  return [
    { fused: product, epilogue: { kind: 'bias', bias: { workspace: 0 } }, before: [rounded(bias, device)], otherwise },
  ];
}

/**
 * Rounds a bias to the result's type, the only one that cuBLASLt takes, into scratch memory. That errs by as much as rounding a
 * result of the bias's size, 2⁻⁹ of it in bf16, and the result is rounded once, where `add_bias` finds it rounded and rounds it
 * again. It pays for every size: a launch takes the place of a launch, and moves 6 bytes for each column instead of 4 for each
 * number (8,192 × 4,608: 28 kB instead of 151 MB, some 40 µs of an H200).
 */
function rounded(bias: Tensor, device: CudaDevice): CudaLaunch {
  return {
    ...{ function: 'cast_to', grid: [blocksFor(bias.size, device)], block: blockThreads },
    ...{ arguments: [bias, scratch, i64(bias.size)], workspace: 2 * bias.size },
  };
}

/** Blocks of a launch over numbers that threads take in packs of 8. */
const blocksFor = (size: number, device: CudaDevice): number => sharingBlocks(size / 8, device);

export function productGeluSlopePlan(
  device: CudaDevice,
  dy: Tensor,
  weight: Tensor,
  u: Tensor,
  du: Tensor,
  ...[rows, width, outputs, form]: [number, number, number, number]
): readonly CudaStep[] {
  const product = {
    ...{ a: dy, b: weight, c: du, m: rows, n: width, k: outputs },
    ...{ transposeA: false, transposeB: false, accumulate: false },
  };
  const size = rows * width;
  const multiplyBySlope: CudaLaunch = {
    ...{ function: 'gelu_backward', grid: [blocksFor(size, device)], block: blockThreads },
    arguments: [du, u, du, i64(size), i64(form), i64(0)],
  };
  const otherwise: readonly CudaStep[] = [{ product }, multiplyBySlope];
  if (!slopeRides(du, form)) return otherwise;
  return [{ fused: product, epilogue: { kind: 'geluSlope', input: u }, before: [], otherwise }];
}

/** cuBLASLt's GELU is the tanh form; float32 stays with our own kernels, which are as exact as the other engines'. */
const slopeRides = ({ dtype }: Tensor, form: number): boolean => form === geluForms.tanh && isHalf(dtype);

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
