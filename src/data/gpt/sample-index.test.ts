/** Golden vectors of Megatron's index builders, and a naive walk over the tokens. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataError } from '../../base/errors.ts';
import { buildSampleIndex, planSampleIndex, type SampleIndexOptions } from './sample-index.ts';

const lengths = Int32Array.from([5, 3, 7, 2, 9]);
const golden = (sampleCount: number): SampleIndexOptions => ({
  sequenceLengths: lengths,
  range: { begin: 0, end: 5 },
  sampleCount,
  sequenceLength: 4,
  seed: 1234,
});

describe('golden vectors', () => {
  test.each([
    {
      wanted: 5,
      epochs: 1,
      separate: false,
      documents: '4 0 1 2 3',
      samples: '0,0 0,4 0,8 1,3 2,2 3,3 4,0',
      shuffle: '5 2 3 1 0 4',
    },
    {
      wanted: 8,
      epochs: 2,
      separate: true,
      documents: '4 0 1 2 3 3 2 1 0 4',
      samples: '0,0 0,4 0,8 1,3 2,2 3,3 4,0 6,0 6,4 7,1 8,2 9,1 9,5',
      shuffle: '0 4 3 2 5 1 7 6 9 8 11 10',
    },
    {
      wanted: 12,
      epochs: 2,
      separate: false,
      documents: '2 2 4 1 0 3 4 0 1 3',
      samples: '0,0 0,4 1,1 1,5 2,2 2,6 3,1 4,2 5,1 6,3 6,7 7,2 8,1',
      shuffle: '3 11 2 1 7 5 4 0 8 6 10 9',
    },
  ])('$wanted samples', ({ wanted, epochs, separate, documents, samples, shuffle }) => {
    const index = buildSampleIndex(golden(wanted));
    expect(index.plan.epochs).toBe(epochs);
    expect(index.plan.separateFinalEpoch).toBe(separate);
    expect([...index.documentIndex].join(' ')).toBe(documents);
    const pairs = Array.from(
      { length: index.plan.samples + 1 },
      (_, i) => `${index.sampleIndex[2 * i]},${index.sampleIndex[2 * i + 1]}`,
    );
    expect(pairs.join(' ')).toBe(samples);
    expect([...index.shuffleIndex].join(' ')).toBe(shuffle);
  });
});

const anyOptions = fc
  .record({
    sizes: fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 20 }),
    sequenceLength: fc.integer({ min: 1, max: 20 }),
    sampleCount: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
    seed: fc.integer({ min: 0, max: 0xffffffff }),
    skip: fc.nat({ max: 5 }),
  })
  .map(({ sizes, skip, ...rest }) => ({
    ...rest,
    sequenceLengths: Int32Array.from(sizes),
    range: { begin: Math.min(skip, sizes.length - 1), end: sizes.length },
  }))
  .filter(({ sequenceLengths, range }) => sequenceLengths.subarray(range.begin).some((size) => size > 0));

test('samples are the tokens of the shuffled documents in order, one shared between neighbours', () => {
  fc.assert(
    fc.property(anyOptions, (options) => {
      const { plan, documentIndex, sampleIndex } = buildSampleIndex(options);
      // Naive: lay all documents out as one list of (position in documentIndex, offset).
      const stream: string[] = [];
      documentIndex.forEach((sequence, at) => {
        for (let offset = 0; offset < (options.sequenceLengths[sequence] ?? 0); offset++)
          stream.push(`${at},${offset}`);
      });
      expect(plan.samples).toBe(Math.floor((stream.length - 1) / options.sequenceLength));
      expect(plan.samples).toBeGreaterThanOrEqual(options.sampleCount ?? 0);
      for (let sample = 0; sample < plan.samples; sample++) {
        const end = `${sampleIndex[2 * sample + 2]},${sampleIndex[2 * sample + 3]}`;
        expect(end).toBe(stream[(sample + 1) * options.sequenceLength]);
      }
    }),
    { numRuns: 200 },
  );
});

test('every epoch reads every document, and every sample is read once', () => {
  fc.assert(
    fc.property(anyOptions, (options) => {
      const { plan, documentIndex, shuffleIndex } = buildSampleIndex(options);
      const reads = new Map<number, number>();
      for (const sequence of documentIndex) reads.set(sequence, (reads.get(sequence) ?? 0) + 1);
      expect(reads.size).toBe(options.range.end - options.range.begin);
      for (const count of reads.values()) expect(count).toBe(plan.epochs);
      expect([...shuffleIndex].sort((a, b) => a - b)).toEqual(Array.from({ length: plan.samples }, (_, i) => i));
      if (plan.separateFinalEpoch) {
        // What belongs to the last epoch is not read before all others are.
        const before = plan.samplesBeforeFinalEpoch;
        expect(Math.max(-1, ...shuffleIndex.subarray(0, before))).toBeLessThan(before);
      }
      // One epoch fewer would not do.
      if (plan.epochs > 1) {
        const fewer = Math.floor(((plan.epochs - 1) * plan.tokensPerEpoch - 1) / options.sequenceLength);
        expect(fewer).toBeLessThan(options.sampleCount ?? 0);
      }
    }),
    { numRuns: 200 },
  );
});

test('the last epoch is shuffled by itself below 80 % of its samples', () => {
  // 11 tokens an epoch and L = 1: 10 samples in the first epoch, 21 in two.
  const options = { sequenceLengths: Int32Array.of(4, 7), range: { begin: 0, end: 2 }, sequenceLength: 1, seed: 1 };
  const separate = (sampleCount: number) => planSampleIndex({ ...options, sampleCount }).separateFinalEpoch;
  expect([10, 11, 17, 18, 21].map(separate)).toEqual([false, true, true, false, false]);
});

test('an empty range and an index too large for 32 bits are refused', () => {
  expect(() => planSampleIndex({ ...golden(1), range: { begin: 2, end: 2 } })).toThrow(DataError);
  expect(() => planSampleIndex(golden(2 ** 31))).toThrow(/limit of 2147483647/);
});

test('a million samples are built in well under a second or two', () => {
  const sequenceLengths = new Int32Array(100_000).fill(1000);
  const start = performance.now();
  const options = {
    sequenceLengths,
    range: { begin: 0, end: 100_000 },
    sampleCount: 1_000_000,
    sequenceLength: 128,
    seed: 1,
  };
  expect(buildSampleIndex(options).plan.samples).toBeGreaterThanOrEqual(1_000_000);
  // Typed arrays need about 0.2 s; a walk over boxed values would need a minute.
  expect(performance.now() - start).toBeLessThan(5000);
});
