import { describe, expect, it } from 'vitest';
import { cpuEngine, noCpuEngine } from '../../../test/support/engines.ts';
import { evaluate, type OperatorCase } from '../../../test/support/operator.ts';
import { attention } from './op.ts';

const dropout = { probability: 0.1, seed: 3, site: 1, firstSample: 5 };

/** @param batch 1 and one head make the forward pass share out tiles of queries, more of them whole heads */
const attentionCase = (batch: number, heads: number, sequence: number): OperatorCase<'qkv'> => ({
  inputs: { qkv: { shape: [batch, sequence, heads * 3 * 24], key: 1 } },
  apply: ({ qkv }) => attention(qkv, { heads, dropout }),
});

describe('attention on the cpu engine', () => {
  it.skipIf(noCpuEngine).each<[number, number, number, 'f32' | 'bf16']>([
    [1, 1, 500, 'f32'],
    [3, 5, 140, 'f32'],
    [1, 1, 500, 'bf16'],
    [3, 5, 140, 'bf16'],
  ])(
    'gives the same bits on every run and thread count: b %i, n %i, s %i %s',
    async (batch, heads, sequence, dtype) => {
      const test = attentionCase(batch, heads, sequence);
      const options = dtype === 'f32' ? {} : { halves: { dtype } };
      const outcomes = [];
      for (const threads of [1, 2, 3, 3]) {
        using engine = await cpuEngine({ threads });
        outcomes.push(evaluate(engine, test, options));
      }
      const [first, ...others] = outcomes;
      for (const outcome of others) expect(outcome).toEqual(first);
    },
  );
});
