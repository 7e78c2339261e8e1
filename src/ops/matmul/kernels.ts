/** The matrix product that linear layers, logits and their gradients are made of. */

import { bytesOf, type KernelCost } from '../../tensor/cost.ts';
import type { Floats } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { matrixProductPlan } from './cuda.ts';

const productCost = (
  a: Tensor,
  b: Tensor,
  c: Tensor,
  ...[m, n, k, , , accumulate]: [m: number, n: number, k: number, number, number, accumulate: number]
): KernelCost => ({ flops: 2 * m * n * k, bytes: bytesOf(a, b, c, accumulate && c) });

/**
 * c [m, n] = op(a) [m, k] · op(b) [k, n], added to c when `accumulate` is 1. `transposeA` 1 reads a as [k, m],
 * `transposeB` 1 reads b as [n, k]. Sums of 16-bit values are taken in float32 and rounded once.
 */
const productOfValues = defineKernel(
  'matrix_product',
  ['values', 'values', 'values', 'int', 'int', 'int', 'int', 'int', 'int'],
  multiply,
  { cuda: matrixProductPlan, cost: productCost },
);

/** The same with a float c: gradients of weights, which are collected in float32 whatever activations are. */
const productIntoFloats = defineKernel(
  'matrix_product_into_floats',
  ['values', 'values', 'floats', 'int', 'int', 'int', 'int', 'int', 'int'],
  multiply,
  { cuda: matrixProductPlan, cost: productCost },
);

/** The product of either kind, by the element type of c; see above. */
export function matrixProduct(
  engine: Engine,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  ...sizesAndFlags: [m: number, n: number, k: number, transposeA: number, transposeB: number, accumulate: number]
): void {
  const product = c.dtype === engine.floatType ? productIntoFloats : productOfValues;
  product(engine, a, b, c, ...sizesAndFlags);
}

/** See `productOfValues`. */
export function multiply(
  a: Floats,
  b: Floats,
  c: Floats,
  m: number,
  n: number,
  k: number,
  transposeA: number,
  transposeB: number,
  accumulate: number,
): void {
  if (!accumulate) c.fill(0);
  if (transposeB) addRowTimesRow(transposeA ? transposed(a, k, m) : a, b, c, m, n, k);
  else addRowTimesMatrix(a, b, c, m, n, k, transposeA === 1);
}

/** c[i, j] += a[i, :] · b[j, :]; four columns at a time share the loads of a. */
function addRowTimesRow(a: Floats, b: Floats, c: Floats, m: number, n: number, k: number): void {
  for (let i = 0; i < m; i++) {
    const rowA = i * k;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const row0 = j * k;
      const row1 = row0 + k;
      const row2 = row1 + k;
      const row3 = row2 + k;
      let sum0 = 0;
      let sum1 = 0;
      let sum2 = 0;
      let sum3 = 0;
      for (let p = 0; p < k; p++) {
        const value = a[rowA + p] as number;
        sum0 += value * (b[row0 + p] as number);
        sum1 += value * (b[row1 + p] as number);
        sum2 += value * (b[row2 + p] as number);
        sum3 += value * (b[row3 + p] as number);
      }
      const at = i * n + j;
      c[at] = (c[at] as number) + sum0;
      c[at + 1] = (c[at + 1] as number) + sum1;
      c[at + 2] = (c[at + 2] as number) + sum2;
      c[at + 3] = (c[at + 3] as number) + sum3;
    }
    for (; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (a[rowA + p] as number) * (b[j * k + p] as number);
      c[i * n + j] = (c[i * n + j] as number) + sum;
    }
  }
}

/** c[i, :] += a[i, p] · b[p, :]. */
function addRowTimesMatrix(
  a: Floats,
  b: Floats,
  c: Floats,
  m: number,
  n: number,
  k: number,
  transposeA: boolean,
): void {
  for (let i = 0; i < m; i++) {
    const rowC = i * n;
    for (let p = 0; p < k; p++) {
      const value = a[transposeA ? p * m + i : i * k + p] as number;
      const rowB = p * n;
      for (let j = 0; j < n; j++) c[rowC + j] = (c[rowC + j] as number) + value * (b[rowB + j] as number);
    }
  }
}

function transposed(a: Floats, rows: number, columns: number): Floats {
  const out = a.slice();
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j] as number;
  return out;
}
