/** Kernels of attention, shared by training and generation. */

import { defineKernel } from '../../tensor/kernel.ts';
import { problemOf, problemParameters } from './problem.ts';
import { referenceBackward, referenceForward } from './reference.ts';

/**
 * q [b, sq, n, d], k and v [b, sk, n, d] at the problem's strides → out [b, sq, n, d] and logSumExp [b, n, sq], the
 * logarithm of each softmax's denominator (−∞ where a query sees no key; its output is 0). firstKey [b, sq]: the first
 * key that each query may see.
 */
export const attentionForward = defineKernel(
  'attention_forward',
  ['values', 'values', 'values', 'values', 'floats', 'ids?', ...problemParameters],
  (q, k, v, out, logSumExp, firstKey, ...problem) =>
    referenceForward(problemOf(problem), { q, k, v, out, logSumExp, firstKey }),
);

/** Gradients dq at the strides of q, dk and dv at those of k; added to what is there when `accumulate` is 1. */
export const attentionBackward = defineKernel(
  'attention_backward',
  [
    ...(['values', 'values', 'values', 'values', 'floats', 'ids?'] as const), // as in the forward kernel
    ...(['values', 'values', 'values', 'values', 'int'] as const), // dOut, dq, dk, dv, accumulate
    ...problemParameters,
  ],
  (q, k, v, out, logSumExp, firstKey, dOut, dq, dk, dv, accumulate, ...problem) =>
    referenceBackward(
      problemOf(problem),
      { q, k, v, out, logSumExp, firstKey },
      { dOut, dq, dk, dv, accumulate: accumulate === 1 },
    ),
);

/** Copies the keys and values of qkv [b, s, n, 3, d] into keys and values [b, S, n, d] from `position` on. */
export const appendToCache = defineKernel(
  'attention_append_to_cache',
  ['values', 'values', 'values', 'int', 'int', 'int', 'int', 'int', 'int'],
  (qkv, keys, values, batch, sequence, heads, width, position, capacity) => {
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < sequence * heads; i++) {
        const from = (b * sequence * heads + i) * 3 * width;
        const to = ((b * capacity + position) * heads + i) * width;
        keys.set(qkv.subarray(from + width, from + 2 * width), to);
        values.set(qkv.subarray(from + 2 * width, from + 3 * width), to);
      }
    }
  },
);
