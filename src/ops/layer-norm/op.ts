/** Layer normalization over the last dimension: y = (x − mean) · rstd · γ + β (Ba et al. 2016), statistics in float32. */

import { runOperator } from '../../autograd/record.ts';
import { expectShape, lastOf, rowsOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { layerNormBackward, layerNormForward } from './kernels.ts';

/**
 * @param x [..., h]
 * @param gamma [h]
 * @param beta [h]
 * @returns [..., h]
 * @throws ShapeError when gamma or beta are not [h].
 */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon = 1e-5): Tensor {
  const { engine } = x;
  const width = lastOf(x.shape);
  const rows = rowsOf(x.shape);
  expectShape('layerNorm', 'gamma', gamma.shape, [width]);
  expectShape('layerNorm', 'beta', beta.shape, [width]);
  using mean = Tensor.empty(engine, [rows]);
  using rstd = Tensor.empty(engine, [rows]);
  return runOperator({
    name: 'layerNorm',
    inputs: [x, gamma, beta],
    shape: x.shape,
    saved: [x, gamma, mean, rstd],
    forward: (y) => layerNormForward(engine, x, gamma, beta, y, mean, rstd, rows, width, epsilon),
    backward: (dy, gradients) => {
      using dGamma = Tensor.zeros(engine, [width], { kind: 'workspace' });
      using dBeta = Tensor.zeros(engine, [width], { kind: 'workspace' });
      const like = { kind: 'workspace', dtype: x.dtype } as const;
      using unwanted = gradients.wants(x) ? undefined : Tensor.empty(engine, x.shape, like);
      const run = (dx: Tensor, accumulate: boolean): void =>
        layerNormBackward(engine, dy, x, gamma, mean, rstd, dx, dGamma, dBeta, rows, width, accumulate ? 1 : 0);
      if (unwanted) run(unwanted, false);
      else gradients.into(x, run);
      gradients.pass(gamma, dGamma);
      gradients.pass(beta, dBeta);
    },
  });
}
