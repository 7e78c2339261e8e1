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
export const gradientNorm = (parameters: Parameters, group?: Communicator): number =>
  gradientNormLater(parameters, group)();

/** The same begun; the result waits for it, and is collective. */
export function gradientNormLater(parameters: Parameters, group?: Communicator): () => number {
  const parts: { readonly split: boolean; readonly read: () => number }[] = [];
  for (const { gradients, split } of parameters.groups) {
    if (!gradients) continue;
    using sum = Tensor.empty(gradients.engine, [1], { kind: 'workspace' });
    sumSquares(gradients.engine, gradients, sum, gradients.size);
    parts.push({ split, read: sum.itemLater() });
  }
  return () => {
    let [own, common] = [0, 0];
    for (const { split, read } of parts) {
      if (split) own += read();
      else common += read();
    }
    return Math.sqrt(common + sumOver(group, own));
  };
}

/** Megatron's factor: max/(norm + 1e-6) where that is below 1. `clipGrad` 0 turns clipping off. */
export function clipFactor(norm: number, clipGrad: number): number {
  return clipGrad > 0 ? Math.min(1, clipGrad / (norm + 1e-6)) : 1;
}
