/** The norm of the whole gradient, and the factor that clips it. */

import type { Communicator } from '../comm/communicator.ts';
import { sumSquares } from '../ops/sum-squares/kernels.ts';
import type { Parameters } from '../parallel/parameters.ts';
import { sumOver } from '../parallel/scalars.ts';
import { Tensor } from '../tensor/tensor.ts';

/**
 * ‖g‖₂ over all parameters of the model, infinite or NaN where a gradient is: the parts that ranks split are summed over
 * the tensor group, what every rank holds is counted once.
 */
export function gradientNorm(parameters: Parameters, group?: Communicator): number {
  let [own, common] = [0, 0];
  for (const { gradients, split } of parameters.groups) {
    if (!gradients) continue;
    using sum = Tensor.empty(gradients.engine, [1], { kind: 'workspace' });
    sumSquares(gradients.engine, gradients, sum, gradients.size);
    if (split) own += sum.item();
    else common += sum.item();
  }
  return Math.sqrt(common + sumOver(group, own));
}

/** Megatron's factor: max/(norm + 1e-6) where that is below 1. `clipGrad` 0 turns clipping off. */
export function clipFactor(norm: number, clipGrad: number): number {
  return clipGrad > 0 ? Math.min(1, clipGrad / (norm + 1e-6)) : 1;
}
