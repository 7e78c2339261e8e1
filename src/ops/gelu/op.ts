/** The Gaussian error linear unit. */

import { runOperator } from '../../autograd/record.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type GeluForm, geluBackward, geluForms, geluForward } from './kernels.ts';

/**
 * @param x any shape
 * @param form 'erf' is exact; 'tanh' is the approximation that OpenAI's GPT-2 weights were trained with.
 * @returns the shape of x
 */
export function gelu(x: Tensor, form: GeluForm = 'erf'): Tensor {
  const { engine, size } = x;
  const code = geluForms[form];
  return runOperator({
    name: 'gelu',
    inputs: [x],
    shape: x.shape,
    saved: [x],
    forward: (y) => geluForward(engine, x, y, size, code),
    backward: (dy, gradients) =>
      gradients.into(x, (dx, accumulate) => geluBackward(engine, dy, x, dx, size, code, accumulate ? 1 : 0)),
  });
}
