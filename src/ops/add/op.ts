/** The element-wise sum of two tensors. */

import { runOperator } from '../../autograd/record.ts';
import { expectShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { addForward } from './kernels.ts';

/** @param a any shape @param b the same shape @returns a + b */
export function add(a: Tensor, b: Tensor): Tensor {
  const { engine, size } = a;
  expectShape('add', 'b', b.shape, a.shape);
  return runOperator({
    name: 'add',
    inputs: [a, b],
    shape: a.shape,
    forward: (y) => addForward(engine, a, b, y, size),
    backward: (dy, gradients) => {
      gradients.pass(a, dy);
      gradients.pass(b, dy);
    },
  });
}
