/** The product of two matrices. */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError } from '../../base/errors.ts';
import { formatShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { matrixProduct } from './kernels.ts';

/**
 * @param a [m, k]
 * @param b [k, n]
 * @returns [m, n]
 * @throws ShapeError when the inner sizes differ or an input is not a matrix.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const { engine } = a;
  const [m, k] = a.shape;
  const [inner, n] = b.shape;
  if (
    a.shape.length !== 2 ||
    b.shape.length !== 2 ||
    k !== inner ||
    m === undefined ||
    k === undefined ||
    n === undefined
  ) {
    throw new ShapeError(`matmul: cannot multiply ${formatShape(a.shape)} by ${formatShape(b.shape)}`);
  }
  return runOperator({
    name: 'matmul',
    inputs: [a, b],
    shape: [m, n],
    saved: [a, b],
    forward: (c) => matrixProduct(engine, a, b, c, m, n, k, 0, 0, 0),
    backward: (dc, gradients) => {
      gradients.into(a, (da, accumulate) => matrixProduct(engine, dc, b, da, m, k, n, 0, 1, accumulate ? 1 : 0));
      gradients.into(b, (db, accumulate) => matrixProduct(engine, a, dc, db, k, n, m, 1, 0, accumulate ? 1 : 0));
    },
  });
}
