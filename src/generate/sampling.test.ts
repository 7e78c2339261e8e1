import { describe, expect, it } from 'vitest';
import { MegatronError } from '../base/errors.ts';
import { chooseToken, type SamplingOptions, uniformAt } from './sampling.ts';

const draws = 4000;
const evenly = Array.from({ length: draws }, (_, i) => (i + 0.5) / draws);

/** How often each token is chosen when the draws are spread evenly over [0, 1). */
function shares(logits: readonly number[], options: SamplingOptions): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (const uniform of evenly) {
    const id = chooseToken(logits, options, uniform);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts.map((count) => count / draws);
}

const possible = (logits: readonly number[], options: SamplingOptions): number[] =>
  shares(logits, options).flatMap((share, id) => (share > 0 ? [id] : []));

function expectShares(actual: readonly number[], expected: readonly number[]): void {
  for (const [id, share] of expected.entries()) {
    // a share's two ends fall between two draws
    expect(Math.abs((actual[id] ?? Number.NaN) - share), `share of token ${id}`).toBeLessThanOrEqual(2 / draws);
  }
}

const logitsOf = (...probabilities: number[]): number[] => probabilities.map((p) => Math.log(p) + 3);

describe('chooseToken', () => {
  it('draws by the softmax of the logits', () => {
    expectShares(shares(logitsOf(0.1, 0.6, 0.3), {}), [0.1, 0.6, 0.3]);
  });

  it('divides by the temperature', () => {
    const total = 0.1 ** 2 + 0.6 ** 2 + 0.3 ** 2;
    const squared = [0.1 ** 2 / total, 0.6 ** 2 / total, 0.3 ** 2 / total];
    expectShares(shares(logitsOf(0.1, 0.6, 0.3), { temperature: 0.5 }), squared);
  });

  it('takes the likeliest when greedy, of equals the first', () => {
    expect(possible([1, 5, 5, 2], { greedy: true })).toEqual([1]);
    expect(possible([-3, -7], { greedy: true })).toEqual([0]);
  });

  it('keeps k tokens, and all that equal the last of them', () => {
    const logits = [3, 1, 2, 2, 0];
    expect(possible(logits, { topK: 1 })).toEqual([0]);
    expect(possible(logits, { topK: 2 })).toEqual([0, 2, 3]);
    expect(possible(logits, { topK: 3 })).toEqual([0, 2, 3]);
    expect(possible(logits, { topK: 4 })).toEqual([0, 1, 2, 3]);
    expect(possible(logits, { topK: 0 })).toEqual([0, 1, 2, 3, 4]);
    expect(possible(logits, { topK: 99 })).toEqual([0, 1, 2, 3, 4]);
  });

  it('with k = 1 is greedy', () => {
    for (let row = 0; row < 50; row++) {
      const logits = Array.from({ length: 40 }, (_, i) => Math.sin(row * 71 + i * 13.7) * 5);
      for (const uniform of [0, 0.3, 1 - 2 ** -32]) {
        expect(chooseToken(logits, { topK: 1 }, uniform)).toBe(chooseToken(logits, { greedy: true }, uniform));
      }
    }
  });

  it('keeps the likeliest until they pass p, the one that passes it included', () => {
    const logits = logitsOf(0.15, 0.5, 0.05, 0.3);
    expect(possible(logits, { topP: 0.01 })).toEqual([1]);
    expect(possible(logits, { topP: 0.45 })).toEqual([1]);
    expect(possible(logits, { topP: 0.6 })).toEqual([1, 3]);
    expect(possible(logits, { topP: 0.85 })).toEqual([0, 1, 3]);
    expect(possible(logits, { topP: 0.97 })).toEqual([0, 1, 2, 3]);
    expect(possible(logits, { topP: 1 })).toEqual([0, 1, 2, 3]);
    expectShares(shares(logits, { topP: 0.6 }), [0, 0.5 / 0.8, 0, 0.3 / 0.8]);
  });

  it('counts p over what top-k leaves', () => {
    const logits = logitsOf(0.4, 0.3, 0.2, 0.1);
    expect(possible(logits, { topP: 0.5 })).toEqual([0, 1]);
    // of the two that are left, the first alone has 4/7
    expect(possible(logits, { topK: 2, topP: 0.5 })).toEqual([0]);
  });

  it('counts p after the temperature', () => {
    expect(possible(logitsOf(0.4, 0.3, 0.3), { topP: 0.5 })).toEqual([0, 1]);
    expect(possible(logitsOf(0.4, 0.3, 0.3), { topP: 0.5, temperature: 0.2 })).toEqual([0]);
  });

  it('never draws what has no probability, at either end of the draws', () => {
    const logits = [Number.NEGATIVE_INFINITY, 0, 0, Number.NEGATIVE_INFINITY];
    expect(chooseToken(logits, {}, 0)).toBe(1);
    expect(chooseToken(logits, {}, 1 - 2 ** -32)).toBe(2);
    expect(chooseToken([1000, -1000], {}, 1 - 2 ** -32)).toBe(0);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses a logit of %s', (logit) => {
    for (const options of [{}, { greedy: true }]) {
      expect(() => chooseToken([0, logit], options, 0.5)).toThrow(MegatronError);
    }
  });
});

describe('uniformAt', () => {
  it('depends on seed, sample and position, and on nothing else', () => {
    expect(uniformAt(1, 2, 3)).toBe(uniformAt(1, 2, 3));
    const all = [0, 1, 2].flatMap((seed) =>
      [0, 1, 2].flatMap((sample) => [0, 1, 2].map((at) => uniformAt(seed, sample, at))),
    );
    expect(new Set(all).size).toBe(27);
  });

  it('is uniform in [0, 1)', () => {
    const values = Array.from({ length: 4000 }, (_, position) => uniformAt(7, 0, position)).toSorted((a, b) => a - b);
    expect(values[0]).toBeGreaterThanOrEqual(0);
    expect(values.at(-1)).toBeLessThan(1);
    // Kolmogorov-Smirnov: 1.95/√n is passed once in a thousand seeds
    const worst = Math.max(...values.map((value, i) => Math.abs(value - (i + 0.5) / 4000)));
    expect(worst).toBeLessThan(1.95 / Math.sqrt(4000));
  });
});
