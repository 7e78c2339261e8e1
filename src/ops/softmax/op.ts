/** Softmax and log-softmax over the last dimension. */

import { runOperator } from '../../autograd/record.ts';
import { lastOf, rowsOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { softmaxBackward, softmaxForward } from './kernels.ts';

function softmaxOperator(name: string, x: Tensor, logarithm: 0 | 1): Tensor {
  const { engine } = x;
  const width = lastOf(x.shape);
  const rows = rowsOf(x.shape);
  return runOperator({
    name,
    inputs: [x],
    shape: x.shape,
    saveOutput: true,
    forward: (y) => softmaxForward(engine, x, y, rows, width, logarithm),
    backward: (dy, gradients, y) =>
      gradients.into(x, (dx, accumulate) =>
        softmaxBackward(engine, dy, y, dx, rows, width, logarithm, accumulate ? 1 : 0),
      ),
  });
}

/** @param x [..., n] @returns [..., n], rows that sum to 1 */
export const softmax = (x: Tensor): Tensor => softmaxOperator('softmax', x, 0);

/** @param x [..., n] @returns [..., n], log of the softmax */
export const logSoftmax = (x: Tensor): Tensor => softmaxOperator('logSoftmax', x, 1);
