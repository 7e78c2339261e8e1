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
      // the kernel makes all three at once, and adds to those of gamma and beta
      const intoOrUnwanted = (input: Tensor, write: (destination: Tensor, accumulate: boolean) => void): void => {
        if (gradients.wants(input)) {
          gradients.into(input, write);
          return;
        }
        using unwanted = Tensor.empty(engine, input.shape, { kind: 'workspace', dtype: input.dtype });
        write(unwanted, false);
      };
      intoOrUnwanted(gamma, (dGamma, addsToGamma) =>
        intoOrUnwanted(beta, (dBeta, addsToBeta) =>
          intoOrUnwanted(x, (dx, accumulate) => {
            if (!addsToGamma) dGamma.fill(0);
            if (!addsToBeta) dBeta.fill(0);
            layerNormBackward(engine, dy, x, gamma, mean, rstd, dx, dGamma, dBeta, rows, width, accumulate ? 1 : 0);
          }),
        ),
      );
    },
  });
}
