/** The element-wise product of two tensors. */

import { runOperator } from '../../autograd/record.ts';
import { expectShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { multiplyForward } from './kernels.ts';

/** @param a any shape @param b the same shape @returns a ∘ b */
export function multiply(a: Tensor, b: Tensor): Tensor {
  const { engine, size } = a;
  expectShape('multiply', 'b', b.shape, a.shape);
  return runOperator({
    name: 'multiply',
    inputs: [a, b],
    shape: a.shape,
    saved: [a, b],
    forward: (y) => multiplyForward(engine, a, b, y, size, 0),
    backward: (dy, gradients) => {
      gradients.into(a, (da, accumulate) => multiplyForward(engine, dy, b, da, size, accumulate ? 1 : 0));
      gradients.into(b, (db, accumulate) => multiplyForward(engine, dy, a, db, size, accumulate ? 1 : 0));
    },
  });
}
