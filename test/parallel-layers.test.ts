/** Self-attention, the transformer layer and a GPT over a tensor group against one rank, as Megatron v1's mpu/tests. */

import { describe } from 'vitest';
import { describeComparisons } from './support/comparisons.ts';

describe('transformer layers over ranks', () => {
  describeComparisons(new URL('./support/ranks/transformer.rank.ts', import.meta.url), {
    // Dropout 0.5, drawn by the head's number in the whole model; heads share no arithmetic.
    'attention heads: output': 0,
    'attention heads: gradient': 0,
    // Megatron's tolerances; ours are relative to the largest number of each tensor. What differs is the order in which
    // float32 products are added up where the ranks' parts come together.
    'self-attention: loss': 5e-6,
    'self-attention: output': 5e-6,
    'self-attention: input gradient': 5e-6,
    'self-attention: weight gradients': 5e-6,
    'self-attention: all-reduces': 0,
    'transformer layer: loss': 5e-5,
    'transformer layer: output': 5e-5,
    'transformer layer: input gradient': 5e-5,
    'transformer layer: weight gradients': 5e-5,
    'transformer layer: all-reduces': 0,
    'initial weights of a GPT': 0,
    // Sums of 10⁵ squares in float32 per flat buffer, taken in rows: far below their naive error of 10⁵·ε.
    'gradient norm': 1e-6,
    'gradient norm: ranks that differ': 0,
    'losses of a GPT': 1e-6,
    'logits of a GPT': 5e-6,
  });
});
