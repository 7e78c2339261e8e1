/** The norm of the whole gradient, and the factor that clips it. */

import { sumSquares } from '../ops/sum-squares/kernels.ts';
import type { Parameters } from '../parallel/parameters.ts';
import { Tensor } from '../tensor/tensor.ts';

/** ‖g‖₂ over all parameters; infinite or NaN where a gradient is. */
export function gradientNorm(parameters: Parameters): number {
  let total = 0;
  for (const { gradients } of parameters.groups) {
    if (!gradients) continue;
    using sum = Tensor.empty(gradients.engine, [1], { kind: 'workspace' });
    sumSquares(gradients.engine, gradients, sum, gradients.size);
    total += sum.item();
  }
  return Math.sqrt(total);
}

/** Megatron's factor: max/(norm + 1e-6) where that is below 1. `clipGrad` 0 turns clipping off. */
export function clipFactor(norm: number, clipGrad: number): number {
  return clipGrad > 0 ? Math.min(1, clipGrad / (norm + 1e-6)) : 1;
}
