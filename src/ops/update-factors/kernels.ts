/** What an update of the weights multiplies by: clipping, the loss scale, the learning rate. Computed where the gradient is. */

import { defineKernel } from '../../tensor/kernel.ts';

/** Numbers of `rates`: what the host knows of an update before it begins. */
export const rateCount = 5;
/** Numbers of `factors`: what AdamW reads. */
export const factorCount = 4;

/**
 * squares [parts] are the parts of ‖gradient‖², of a loss that was multiplied by the scale;
 * rates [5] = (loss scale, bound of the norm or 0 for none, step size, inverse root, decay), as `adamWStep` explains them.
 * loss [1] is the sum of the loss, over all ranks.
 * Writes norm [1] = ‖gradient‖ / scale and factors [4] = (clip / scale, step size, inverse root, decay), where clip is Megatron's
 * bound/(norm + 1e-6) below 1. Where the norm or the loss is infinite or NaN the first factor is NaN, which means: no update. When `sticky` is
 * 1, so it is wherever it was NaN before: weights that must not move any more stay as they are.
 */
export const updateFactors = defineKernel(
  'update_factors',
  ['floats', 'floats', 'floats', 'floats', 'floats', 'int', 'int'],
  (squares, loss, rates, factors, norm, parts, sticky) => {
    let sum = 0;
    for (let i = 0; i < parts; i++) sum += squares[i] as number;
    const [scale, bound, ...others] = rates as unknown as [number, number, ...number[]];
    const length = Math.sqrt(sum) / scale;
    const clip = bound > 0 ? Math.min(1, bound / (length + 1e-6)) : 1;
    const stays = !Number.isFinite(length) || !Number.isFinite(loss[0]) || (sticky === 1 && Number.isNaN(factors[0]));
    norm[0] = length;
    factors.set([stays ? Number.NaN : clip / scale, ...others]);
  },
  {
    cuda: (_device, ...[squares, loss, rates, factors, norm, parts, sticky]) => [
      {
        ...{ function: 'update_factors', grid: [1], block: 1 },
        arguments: [squares, loss, rates, factors, norm, { i64: parts }, { i64: sticky }],
      },
    ],
  },
);
