import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { decodeFloats, numbers } from '../../../test/support/numbers.ts';
import {
  evaluate,
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  expectOutcome,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { ShapeError, UsageError } from '../../base/errors.ts';
import { counterTensor } from '../../tensor/counter.ts';
import { halfTypes } from '../../tensor/dtype.ts';
import { dropoutRule, randomBits16 } from '../../tensor/philox.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type AttentionOptions, attention } from './op.ts';

interface Variant extends Omit<AttentionOptions, 'heads' | 'firstKey'> {
  /** Where documents start, for every sample. */
  readonly documents?: readonly number[];
  readonly batch?: number;
  readonly heads?: number;
  /** Of the inputs. */
  readonly magnitude?: number;
}

const firstKeys = (batch: number, sequence: number, documents: readonly number[]): number[] =>
  Array.from({ length: batch * sequence }, (_, i) => Math.max(...documents.filter((start) => start <= i % sequence)));

function attentionCase(sequence: number, width: number, variant: Variant = {}): OperatorCase<'qkv'> {
  const { documents, batch = 2, heads = 2, magnitude = 2, ...options } = variant;
  return {
    inputs: { qkv: { shape: [batch, sequence, 3 * heads * width], key: 1, scale: magnitude } },
    apply: ({ qkv }, engine) => {
      if (!documents) return attention(qkv, { heads, ...options });
      const values = firstKeys(batch, sequence, documents);
      using firstKey = Tensor.from(engine, values, [batch, sequence], { dtype: 'i32' });
      return attention(qkv, { heads, firstKey, ...options });
    },
  };
}

const dropout = { probability: 0.3, seed: 1234, site: 9, firstSample: 2 ** 32 + 7 };

describe('attention', () => {
  it.each<[string, Variant]>([
    ['causal', {}],
    ['not causal', { causal: false }],
    ['documents', { documents: [0, 2, 3] }],
    ['dropout', { dropout }],
    ['all at once', { dropout, documents: [0, 4], headOffset: 3 }],
  ])('has the gradients of finite differences: %s', (_, variant) => {
    expectFiniteDifferences(attentionCase(6, 3, { magnitude: 1, ...variant }));
  });

  it('refuses what does not fit', () => {
    using engine = exactEngine();
    using qkv = Tensor.zeros(engine, [1, 2, 18]);
    using firstKey = Tensor.zeros(engine, [2, 1], { dtype: 'i32' });
    expect(() => attention(qkv, { heads: 4 })).toThrow(ShapeError);
    expect(() => attention(qkv, { heads: 0 })).toThrow(ShapeError);
    expect(() => attention(qkv.view([2, 18]), { heads: 2 })).toThrow(ShapeError);
    expect(() => attention(qkv, { heads: 2, firstKey })).toThrow(ShapeError);
    expect(() => attention(qkv, { heads: 2, dropout: { ...dropout, probability: 1 } })).toThrow(UsageError);
  });
});

// Scores reach about 10, so the exponent's argument carries an error of 10 · 6e-8 and the sums of up to 130 terms a few more.
const tolerances = { output: 2e-6, gradient: 5e-6 };
const types = ['f32', ...halfTypes] as const;

interface Golden {
  readonly shape: readonly [number, number, number];
  readonly heads: number;
  readonly causal: boolean;
  readonly firstKey: readonly number[] | null;
  readonly output: string;
  readonly gradient: string;
}
const goldens = JSON.parse(readFileSync(new URL('fixtures/torch-attention.json', import.meta.url), 'utf8')) as {
  readonly cases: Readonly<Record<string, Golden>>;
};

describeOnEngines('attention', (engine) => {
  const sizes = [1, 7, 65, 130].flatMap((sequence) => [5, 16, 64, 80].map((width) => [sequence, width] as const));
  it.each(sizes)('agrees with float64 at s %i, d %i', (sequence, width) => {
    expectAgreesWithExact(engine(), attentionCase(sequence, width), tolerances);
  });

  it.each<[string, number, Variant]>([
    ['not causal', 130, { causal: false }],
    ['documents', 130, { documents: [0, 1, 40, 97, 129] }],
    ['a document that hides whole tiles', 300, { documents: [0, 210], batch: 1, heads: 1 }],
    ['documents, not causal', 130, { documents: [0, 100], causal: false }],
    ['dropout', 107, { dropout }],
    ['dropout of few queries', 3, { dropout }],
    ['all at once', 203, { dropout, documents: [0, 33, 100], headOffset: 5, batch: 3 }],
  ])('agrees with float64: %s', (_, sequence, variant) => {
    expectAgreesWithExact(engine(), attentionCase(sequence, 20, variant), tolerances);
  });

  it('keeps its accuracy for scores of ±10000', () => {
    // float32 scores of this size are spaced by 1e-3, and so are the saved log-sum-exps: probabilities are good to about that.
    const test = attentionCase(70, 16, { magnitude: 120 });
    expectAgreesWithExact(engine(), test, { output: 5e-3, gradient: 5e-3 });
  });

  it('adds to gradients that are there', () => expectAccumulates(engine(), attentionCase(37, 9, { dropout }), 2e-6));

  it.each(Object.keys(goldens.cases))('gives PyTorch’s figures: %s', (name) => {
    const golden = goldens.cases[name] as Golden;
    const { shape, heads, causal } = golden;
    const test: OperatorCase<'qkv'> = {
      inputs: { qkv: { shape, key: 1, scale: 3 } },
      apply: ({ qkv }) => {
        if (!golden.firstKey) return attention(qkv, { heads, causal });
        using firstKey = Tensor.from(engine(), golden.firstKey, shape.slice(0, 2), { dtype: 'i32' });
        return attention(qkv, { heads, causal, firstKey });
      },
    };
    const expected = { output: decodeFloats(golden.output), gradients: { qkv: decodeFloats(golden.gradient) } };
    expectOutcome(evaluate(engine(), test), expected, tolerances);
  });

  it('drops exactly the probabilities that the counter names', () => {
    const [batch, heads, sequence, headOffset] = [2, 3, 21, 4];
    const width = sequence;
    // q = k = 0 makes all probabilities of a query alike, and values that are unit vectors show each of them
    const values = new Float32Array(batch * sequence * heads * 3 * width);
    for (let row = 0; row < batch * sequence * heads; row++) {
      const position = Math.floor(row / heads) % sequence;
      values[row * 3 * width + 2 * width + position] = 1;
    }
    using qkv = Tensor.from(engine(), values, [batch, sequence, heads * 3 * width]);
    using out = attention(qkv, { heads, dropout, headOffset });
    const { threshold, scale } = dropoutRule(dropout.probability);
    const bits = new Uint16Array(8);
    const expected: number[] = [];
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < sequence; i++) {
        for (let h = 0; h < heads; h++) {
          for (let j = 0; j < sequence; j++) {
            const element = ((headOffset + h) * sequence + i) * 24 + j; // 24: the sequence in whole blocks of eight
            randomBits16(dropout, dropout.firstSample + b, Math.floor(element / 8), new Uint32Array(4), bits);
            const kept = j <= i && (bits[element % 8] as number) >= threshold;
            expected.push(kept ? scale / (i + 1) : 0);
          }
        }
      }
    }
    const actual = out.toArray();
    expect(actual.map((value) => value !== 0)).toEqual(expected.map((value) => value !== 0));
    expectClose(actual, expected, 1e-6);
    using firstSample = counterTensor(engine(), dropout.firstSample);
    using again = attention(qkv, { heads, dropout: { ...dropout, firstSample }, headOffset });
    expect(again.toArray()).toEqual(actual);
  });

  it('draws the same masks whichever rank holds a head or a sample', () => {
    const [batch, heads, sequence, width] = [2, 4, 30, 6];
    const values = numbers({ shape: [batch, sequence, heads, 3 * width], key: 8 });
    const whole = run(values, batch, heads, 0, dropout.firstSample);
    const part = (b: number, firstHead: number): number[] =>
      run(
        values.filter((_, i) => {
          const head = Math.floor(i / (3 * width)) % heads;
          const isOurs = head === firstHead || head === firstHead + 1;
          return isOurs && Math.floor(i / (3 * width * heads * sequence)) === b;
        }),
        1,
        2,
        firstHead,
        dropout.firstSample + b,
      );
    for (const b of [0, 1]) {
      for (const firstHead of [0, 2]) {
        const expected = whole.filter((_, i) => {
          const head = Math.floor(i / width) % heads;
          return Math.floor(i / (width * heads * sequence)) === b && (head === firstHead || head === firstHead + 1);
        });
        expect(part(b, firstHead)).toEqual(expected);
      }
    }

    function run(
      data: readonly number[],
      rows: number,
      count: number,
      headOffset: number,
      firstSample: number,
    ): number[] {
      using qkv = Tensor.from(engine(), data, [rows, sequence, count * 3 * width]);
      using out = attention(qkv, { heads: count, headOffset, dropout: { ...dropout, firstSample } });
      return out.toArray();
    }
  });
});

describeOnEngines(
  'attention in 16 bits',
  (engine) => {
    // Probabilities, their gradients and the output are rounded to 16 bits on the way to the gradients, each by half a unit in
    // the last place: errors of the largest gradient's size times a few 2⁻⁹ for bf16.
    it.each<[string, number, number, Variant]>([
      ['causal', 130, 64, { batch: 1, heads: 1 }],
      ['one position', 1, 8, {}],
      ['odd length and width', 37, 5, {}],
      ['several tiles of odd width', 203, 33, { batch: 1, heads: 1 }],
      ['wide', 101, 96, { causal: false, batch: 1, heads: 1 }],
      ['documents', 130, 20, { documents: [0, 1, 40, 97, 129] }],
      ['a document that hides whole tiles', 300, 16, { documents: [0, 210], batch: 1, heads: 1 }],
      ['dropout', 107, 16, { dropout }],
      ['dropout of few queries', 3, 16, { dropout }],
      ['all at once', 203, 20, { dropout, documents: [0, 33, 100], headOffset: 5, batch: 1, heads: 3 }],
    ])('takes activations of 16 bits: %s', (_, sequence, width, variant) => {
      expectHalvesAgree(engine(), attentionCase(sequence, width, { magnitude: 1, ...variant }));
    });

    it('takes activations of 16 bits: scores of ±10000', () => {
      // Δ comes from the rounded output. Where one probability is nearly 1, dP − Δ cancels down to that rounding, in sums of 16
      // values up to 120: the gradients then hold little else, in any order of the sums.
      const test = attentionCase(70, 16, { magnitude: 120 });
      expectHalvesAgree(engine(), test, {}, { output: 2 ** -8, gradient: 2 ** -3 });
    });

    it.each(halfTypes)('adds to gradients that are there in %s', (dtype) => {
      const test = attentionCase(37, 9, { dropout });
      const { gradients } = evaluate(engine(), test, { halves: { dtype } });
      const added = evaluate(engine(), test, { halves: { dtype }, existing: 0.5 }).gradients;
      const expected = gradients['qkv']?.map((gradient) => gradient + 0.5) ?? [];
      // Two roundings, each of half a unit in the last place: 2⁻⁹ and 2⁻¹² of the number.
      expectClose(added['qkv'] ?? [], expected, dtype === 'bf16' ? 2 ** -8 : 2 ** -11);
    });
  },
  { attention: true },
);

describeOnEngines(
  'attention to nothing and to NaN',
  (engine) => {
    it.each(types)('gives a query that sees nothing an output and gradients of 0 in %s', (dtype) => {
      const test: OperatorCase<'qkv'> = {
        inputs: { qkv: { shape: [1, 100, 24], key: 4 } },
        apply: ({ qkv }, owner) => {
          using firstKey = Tensor.from(owner, new Array<number>(100).fill(99), [1, 100], { dtype: 'i32' });
          return attention(qkv, { heads: 2, firstKey });
        },
      };
      const { output, gradients } = evaluate(engine(), test, dtype === 'f32' ? {} : { halves: { dtype } });
      expect(output.slice(0, 99 * 8)).toEqual(new Array<number>(99 * 8).fill(0));
      expect(output.slice(99 * 8).every((value) => value !== 0)).toBe(true);
      expect(gradients['qkv']?.slice(0, 99 * 24)).toEqual(new Array<number>(99 * 24).fill(0));
      expect(gradients['qkv']?.every(Number.isFinite)).toBe(true);
    });

    it.each(types)('hands NaN on to every query that sees it, and to no other head, in %s', (dtype) => {
      const values = numbers({ shape: [1, 120, 12], key: 5 });
      values[30 * 12] = Number.NaN; // query of head 0 at position 30
      values[70 * 12 + 10] = Number.NaN; // value of head 1 at position 70, column 0
      using qkv = Tensor.from(engine(), values, [1, 120, 12], { dtype });
      using out = attention(qkv, { heads: 2 });
      const outputs = out.toArray();
      const wrong = (channel: number): number[] =>
        Array.from({ length: 120 }, (_, i) => i).filter((i) => Number.isNaN(outputs[i * 4 + channel]));
      expect([0, 1].map(wrong)).toEqual([[30], [30]]);
      const seeing = Array.from({ length: 50 }, (_, i) => 70 + i);
      expect(wrong(2)).toEqual(expect.arrayContaining(seeing)); // a tile may also spread it to its neighbours, as 0·NaN
      expect(wrong(3)).toEqual([]);
    });
  },
  { attention: true },
);
