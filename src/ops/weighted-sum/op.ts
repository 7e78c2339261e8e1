/** Σ x·w: turns a loss per token into the scalar that backward starts from. */

import { runOperator } from '../../autograd/record.ts';
import { expectShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { weightedSumBackward, weightedSumForward } from './kernels.ts';

/**
 * @param x any shape
 * @param weights the shape of x, of the float type; constant (gets no gradient)
 * @returns a scalar []
 */
export function weightedSum(x: Tensor, weights: Tensor): Tensor {
  const { engine, size } = x;
  expectShape('weightedSum', 'weights', weights.shape, x.shape);
  return runOperator({
    name: 'weightedSum',
    inputs: [x],
    shape: [],
    dtype: engine.floatType,
    saved: [weights],
    forward: (total) => weightedSumForward(engine, x, weights, total, size),
    backward: (dTotal, gradients) =>
      gradients.into(x, (dx, accumulate) => weightedSumBackward(engine, dTotal, weights, dx, size, accumulate ? 1 : 0)),
  });
}
