/** Kernels of the cross-entropy loss on logits. */

import { defineKernel } from '../../tensor/kernel.ts';

/**
 * loss[row] = log Σ exp(logits[row, :entries]) − logits[row, labels[row]]. `statistics` [rows, 2] takes each row's largest
 * logit and 1 / Σ exp(logit − largest): apart, since their combination log Σ exp would lose its digits for large logits.
 * Rows are `stride` long; columns from `entries` on are padding and take no part. A label outside [0, entries) gives loss 0
 * and no gradient.
 */
export const crossEntropyForward = defineKernel(
  'cross_entropy_forward',
  ['floats', 'ids', 'floats', 'floats', 'int', 'int', 'int'],
  (logits, labels, loss, statistics, rows, entries, stride) => {
    for (let row = 0; row < rows; row++) {
      const start = row * stride;
      let largest = -Infinity;
      for (let i = 0; i < entries; i++) largest = Math.max(largest, logits[start + i] as number);
      let sum = 0;
      for (let i = 0; i < entries; i++) sum += Math.exp((logits[start + i] as number) - largest);
      statistics[2 * row] = largest;
      statistics[2 * row + 1] = 1 / sum;
      const label = labels[row] as number;
      loss[row] = label >= 0 && label < entries ? largest - (logits[start + label] as number) + Math.log(sum) : 0;
    }
  },
);

/** logits[row, :] becomes dLoss[row] · (softmax − one-hot): the gradient takes the logits' own memory. */
export const crossEntropyBackward = defineKernel(
  'cross_entropy_backward',
  ['floats', 'ids', 'floats', 'floats', 'int', 'int', 'int'],
  (logits, labels, statistics, dLoss, rows, entries, stride) => {
    for (let row = 0; row < rows; row++) {
      const start = row * stride;
      const label = labels[row] as number;
      const upstream = label >= 0 && label < entries ? (dLoss[row] as number) : 0;
      const largest = statistics[2 * row] as number;
      const share = upstream * (statistics[2 * row + 1] as number);
      for (let i = 0; i < entries; i++) {
        logits[start + i] = upstream === 0 ? 0 : share * Math.exp((logits[start + i] as number) - largest);
      }
      logits.fill(0, start + entries, start + stride);
      if (upstream !== 0) logits[start + label] = (logits[start + label] as number) - upstream;
    }
  },
);
