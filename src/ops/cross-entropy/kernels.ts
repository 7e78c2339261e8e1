/** Kernels of the cross-entropy loss on logits. */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';

/**
 * loss[row] = log Σ exp(logits[row, :entries]) − logits[row, labels[row]]. `statistics` [rows, 2] takes each row's largest
 * logit and 1 / Σ exp(logit − largest): apart, since their combination log Σ exp would lose its digits for large logits.
 * Rows are `stride` long; columns from `entries` on are padding and take no part. A label outside [0, entries) gives loss 0
 * and no gradient.
 */
export const crossEntropyForward = defineKernel(
  'cross_entropy_forward',
  ['values', 'ids', 'floats', 'floats', 'int', 'int', 'int'],
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

/** maximum[row] = the largest of logits[row, :entries]: the first part of a loss whose columns are split over ranks. */
export const crossEntropyMaximum = defineKernel(
  'cross_entropy_maximum',
  ['values', 'floats', 'int', 'int', 'int'],
  (logits, maximum, rows, entries, stride) => {
    for (let row = 0; row < rows; row++) {
      let largest = -Infinity;
      for (let i = 0; i < entries; i++) largest = Math.max(largest, logits[row * stride + i] as number);
      maximum[row] = largest;
    }
  },
);

/**
 * The second part: sums [2, rows] takes Σ exp(logit − maximum) over this rank's columns, and the label's logit − maximum
 * where its column is here (0 elsewhere). Column i is entry firstEntry + i of the vocabulary.
 */
export const crossEntropySums = defineKernel(
  'cross_entropy_sums',
  ['values', 'ids', 'floats', 'floats', 'int', 'int', 'int', 'int'],
  (logits, labels, maximum, sums, rows, entries, stride, firstEntry) => {
    for (let row = 0; row < rows; row++) {
      const start = row * stride;
      const largest = maximum[row] as number;
      let sum = 0;
      for (let i = 0; i < entries; i++) sum += Math.exp((logits[start + i] as number) - largest);
      const column = (labels[row] as number) - firstEntry;
      sums[row] = sum;
      sums[rows + row] = column >= 0 && column < entries ? (logits[start + column] as number) - largest : 0;
    }
  },
);

/**
 * The last part, of maxima and sums over all ranks: loss[row] = log Σ exp(logit − maximum) − (the label's logit − maximum), and
 * the statistics of `crossEntropyForward`. A label outside [0, vocabulary) gives loss 0.
 */
export const crossEntropyOfSums = defineKernel(
  'cross_entropy_of_sums',
  ['ids', 'floats', 'floats', 'floats', 'floats', 'int', 'int'],
  (labels, maximum, sums, loss, statistics, rows, vocabulary) => {
    for (let row = 0; row < rows; row++) {
      const total = sums[row] as number;
      const label = labels[row] as number;
      statistics[2 * row] = maximum[row] as number;
      statistics[2 * row + 1] = 1 / total;
      loss[row] = label >= 0 && label < vocabulary ? Math.log(total) - (sums[rows + row] as number) : 0;
    }
  },
);

/**
 * logits[row, :] becomes dLoss[row] · (softmax − one-hot): the gradient takes the logits' own memory. Column i is entry
 * firstEntry + i of a vocabulary of `vocabulary` entries, all of them where it is not split.
 */
export const crossEntropyBackward = defineKernel(
  'cross_entropy_backward',
  ['values', 'ids', 'floats', 'floats', 'int', 'int', 'int', 'int', 'int'],
  (logits, labels, statistics, dLoss, rows, entries, stride, firstEntry, vocabulary) => {
    for (let row = 0; row < rows; row++) {
      const start = row * stride;
      const label = labels[row] as number;
      const upstream = label >= 0 && label < vocabulary ? (dLoss[row] as number) : 0;
      const largest = statistics[2 * row] as number;
      const share = upstream * (statistics[2 * row + 1] as number);
      for (let i = 0; i < entries; i++) {
        logits[start + i] = upstream === 0 ? 0 : share * Math.exp((logits[start + i] as number) - largest);
      }
      logits.fill(0, start + entries, start + stride);
      const column = label - firstEntry;
      if (upstream !== 0 && column >= 0 && column < entries) {
        logits[start + column] = (logits[start + column] as number) - upstream;
      }
    }
  },
  { cost: (logits, labels, statistics, dLoss) => ({ bytes: bytesOf(logits, logits, labels, statistics, dLoss) }) },
);
