/** Kernels of attention, shared by training and generation. */

import { bytesOf } from '../../tensor/cost.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { attentionBackwardPlan, attentionForwardPlan } from './cuda.ts';
import { type AttentionProblem, problemOf, problemParameters } from './problem.ts';
import { referenceBackward, referenceForward } from './reference.ts';

/**
 * Pairs of a query and a key under the mask. A causal one hides half of a square, as model FLOPs count it, so the diagonal counts
 * half; documents of their own are not known here.
 */
const visiblePairs = ({ batch, heads, queries, keys, offset, causal }: AttentionProblem): number =>
  batch * heads * queries * (causal ? offset + queries / 2 : keys);

/** Of queries, keys and values: they lie in larger tensors. */
const bytesOfHeads = ({ dtype }: Tensor, { batch, heads, queries, keys, width }: AttentionProblem): number =>
  batch * heads * width * (queries + 2 * keys) * bytesPerElement[dtype];

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
  {
    cuda: attentionForwardPlan,
    cost: (q, _k, _v, out, logSumExp, firstKey, ...problem) => {
      const sizes = problemOf(problem);
      return {
        flops: 4 * sizes.width * visiblePairs(sizes),
        bytes: bytesOfHeads(q, sizes) + bytesOf(out, logSumExp, firstKey),
      };
    },
  },
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
  {
    cuda: attentionBackwardPlan,
    cost: (q, _k, _v, out, logSumExp, firstKey, dOut, _dq, _dk, _dv, accumulate, ...problem) => {
      const sizes = problemOf(problem);
      return {
        flops: 8 * sizes.width * visiblePairs(sizes),
        bytes: (accumulate ? 3 : 2) * bytesOfHeads(q, sizes) + bytesOf(out, logSumExp, firstKey, dOut),
      };
    },
  },
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
  {
    cost: (qkv, _keys, _values, batch, sequence, heads, width) => ({
      bytes: 4 * batch * sequence * heads * width * bytesPerElement[qkv.dtype],
    }),
  },
);
