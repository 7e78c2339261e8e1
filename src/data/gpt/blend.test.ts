/** Blending orders: golden vectors of the greedy rule, and its promises. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataError, UsageError } from '../../base/errors.ts';
import {
  buildBlendingIndex,
  createBlendedDataset,
  normalizeWeights,
  parseDataPath,
  plannedSamples,
  withSurplus,
} from './blend.ts';
import type { SampleDataset } from './dataset.ts';

describe('--data-path', () => {
  test('its three forms', () => {
    expect(parseDataPath(['books'])).toEqual({ prefixes: ['books'], weights: undefined });
    expect(parseDataPath(['0.3', 'books', '7e-1', ' my news '])).toEqual({
      prefixes: ['books', 'my news'],
      weights: [0.3, 0.7],
    });
    expect(parseDataPath(['a', 'b', 'c', 'd'])).toEqual({ prefixes: ['a', 'b', 'c', 'd'], weights: undefined });
  });

  test.each([
    [[]],
    [['0.5', 'a', 'b']],
    [['a', '0.5']],
    [['0.5', '0.5', 'a', 'b']],
    [['0', 'a']],
    [['-1', 'a', '2', 'b']],
  ])('%j is refused', (list) => {
    expect(() => parseDataPath(list)).toThrow(UsageError);
  });
});

test('the order that Megatron’s helpers give', () => {
  // Figures from NumPy's argmax over w·max(i, 1) − count.
  const { datasetIndex, sampleIndex } = buildBlendingIndex([0.5, 0.3, 0.2], 10);
  expect([...datasetIndex]).toEqual([0, 1, 2, 0, 1, 0, 2, 0, 1, 0]);
  expect([...sampleIndex]).toEqual([0, 0, 0, 1, 1, 2, 1, 3, 2, 4]);
});

test('every prefix of the order keeps the weights, and samples are used one after another', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 400 }), (raw, size) => {
      const shares = normalizeWeights(raw);
      const { datasetIndex, sampleIndex } = buildBlendingIndex(shares, size);
      const counts = shares.map(() => 0);
      datasetIndex.forEach((part, i) => {
        expect(sampleIndex[i]).toBe(counts[part]);
        counts[part] = (counts[part] ?? 0) + 1;
        shares.forEach((share, k) => {
          expect(Math.abs((counts[k] ?? 0) - share * (i + 1))).toBeLessThan(shares.length);
        });
      });
    }),
    { numRuns: 50 },
  );
});

test('what is built for a blend suffices for it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 2, maxLength: 5 }),
      fc.integer({ min: 200, max: 3000 }),
      (raw, total) => {
        const shares = normalizeWeights(raw);
        const planned = plannedSamples(shares, total);
        const size = planned.reduce((sum, count) => sum + count, 0);
        expect(size).toBeGreaterThanOrEqual(total);
        planned.forEach((count) => {
          expect(withSurplus(count)).toBe(Math.ceil(count * 1.005));
        });
      },
    ),
  );
});

const numbered = (name: string, length: number): SampleDataset => ({
  name,
  length,
  sequenceLength: 1,
  sample: (index) => ({ tokens: Int32Array.of(index, length) }),
});

test('samples come from the parts in that order', () => {
  const blend = createBlendedDataset([numbered('a', 5), numbered('b', 7)], [1, 1], 8);
  expect(Array.from({ length: 8 }, (_, i) => [...blend.sample(i).tokens])).toEqual([
    [0, 5],
    [0, 7],
    [1, 5],
    [1, 7],
    [2, 5],
    [2, 7],
    [3, 5],
    [3, 7],
  ]);
  expect(() => blend.sample(8)).toThrow(/no sample 8/);
});

test('a part that is too small is named', () => {
  expect(() => createBlendedDataset([numbered('a', 5), numbered('b', 2)], [1, 1], 8)).toThrow(DataError);
  expect(() => createBlendedDataset([numbered('a', 5), numbered('b', 2)], [1, 1], 8)).toThrow(/4 samples of the b/);
});
