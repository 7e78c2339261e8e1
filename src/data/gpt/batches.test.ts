/** Micro-batches: masks and positions against a naive mask, order on any layout, resumption. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DataError, ShapeError, UsageError } from '../../base/errors.ts';
import { type BatchOptions, createBatchSource, type MicroBatch } from './batches.ts';
import type { SampleDataset } from './dataset.ts';
import { buildMockDatasets, createMockDataset } from './mock.ts';

const eod = 9;
const fixed = (samples: readonly (readonly number[])[]): SampleDataset => ({
  name: 'fixed data',
  length: samples.length,
  sequenceLength: (samples[0]?.length ?? 1) - 1,
  sample: (index) => ({ tokens: Int32Array.from(samples[index] ?? []) }),
});

const resetting = { eodId: eod, resetPositionIds: true, resetAttentionMask: true, eodMaskLoss: true };

describe('one micro-batch', () => {
  const dataset = fixed([
    [1, 2, eod, 3, 4, 5],
    [eod, eod, 1, 2, 3, eod],
  ]);
  const options: BatchOptions = { dataset, microBatchSize: 2, seqLength: 5, consumedSamples: 0 };

  test('plain', () => {
    const batch = createBatchSource(options).next();
    expect([...batch.tokens]).toEqual([1, 2, eod, 3, 4, eod, eod, 1, 2, 3]);
    expect([...batch.labels]).toEqual([2, eod, 3, 4, 5, eod, 1, 2, 3, eod]);
    expect([...batch.lossMask]).toEqual(new Array(10).fill(1));
    expect([...batch.positionIds]).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    expect(batch.firstKey).toBeUndefined();
    expect(batch.firstSample).toBe(0);
  });

  test('with resets', () => {
    const batch = createBatchSource({ ...options, ...resetting }).next();
    expect([...batch.lossMask]).toEqual([1, 1, 0, 1, 1, 0, 0, 1, 1, 1]);
    expect([...batch.positionIds]).toEqual([0, 1, 2, 0, 1, 0, 0, 0, 1, 2]);
    expect([...(batch.firstKey ?? [])]).toEqual([0, 0, 0, 3, 3, 0, 1, 2, 2, 2]);
  });
});

test('firstKey is the mask that clears mask[i+1:, :i+1] after every end of document', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(1, 2, eod), { minLength: 2, maxLength: 30 }), (sample) => {
      const s = sample.length - 1;
      const batch = createBatchSource({
        dataset: fixed([sample]),
        microBatchSize: 1,
        seqLength: s,
        consumedSamples: 0,
        ...resetting,
      }).next();
      const mask = Array.from({ length: s }, (_, query) => Array.from({ length: s }, (_unused, key) => key <= query));
      for (let i = 0; i < s; i++) {
        if (sample[i] !== eod) continue;
        for (let query = i + 1; query < s; query++) mask[query]?.fill(false, 0, i + 1);
      }
      mask.forEach((row, query) => {
        expect(row.indexOf(true)).toBe(batch.firstKey?.[query]);
        expect(batch.positionIds[query]).toBe(query - row.indexOf(true));
      });
    }),
  );
});

const mock = createMockDataset({ length: 64, sequenceLength: 8, vocabSize: 100, seed: 5, endOfDocument: 99 });
const common = { dataset: mock, seqLength: 8, consumedSamples: 0, ...resetting, eodId: 99 };
const rows = (batch: MicroBatch) =>
  Array.from({ length: batch.microBatchSize }, (_, row) => ({
    sample: batch.firstSample + row,
    tokens: [...batch.tokens.subarray(row * batch.seqLength, (row + 1) * batch.seqLength)],
  }));

test('the data of a step does not depend on ranks and micro-batches', () => {
  const serial = [...createBatchSource({ ...common, microBatchSize: 1 })].flatMap(rows);
  expect(serial.length).toBe(64);
  for (const [microBatchSize, dataParallelSize] of [
    [2, 1],
    [1, 4],
    [2, 4],
    [8, 2],
  ] as const) {
    const all = Array.from({ length: dataParallelSize }, (_, dataParallelRank) => [
      ...createBatchSource({ ...common, microBatchSize, dataParallelSize, dataParallelRank }),
    ]);
    const merged = all.flat().flatMap(rows);
    merged.sort((a, b) => a.sample - b.sample);
    expect(merged).toEqual(serial);
    // All ranks have drawn the same global samples after the same number of micro-batches.
    expect(all.map((batches) => batches[1]?.firstSample)).toEqual(
      all.map((_, rank) => microBatchSize * dataParallelSize + rank * microBatchSize),
    );
  }
});

test('a source started at consumed samples goes on as one that skipped them', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      fc.nat({ max: 5 }),
      (b, ranks, steps) => {
        const options = { ...common, microBatchSize: b, dataParallelSize: ranks, dataParallelRank: ranks - 1 };
        const first = createBatchSource(options);
        for (let step = 0; step < Math.min(steps, 64 / (b * ranks) - 1); step++) first.next();
        const resumed = createBatchSource({ ...options, consumedSamples: first.consumedSamples });
        expect(resumed.remaining).toBe(first.remaining);
        expect([...resumed]).toEqual([...first]);
      },
    ),
  );
});

test('the end of the data is an error, and a part of a chunk is left out', () => {
  const source = createBatchSource({ ...common, microBatchSize: 3, dataParallelSize: 2, consumedSamples: 50 });
  expect(source.remaining).toBe(2);
  source.next();
  source.next();
  expect(source.consumedSamples).toBe(62);
  expect(() => source.next()).toThrow(DataError);
});

test('contradictory options are refused', () => {
  expect(() => createBatchSource({ ...common, microBatchSize: 1, eodId: undefined })).toThrow(UsageError);
  expect(() => createBatchSource({ ...common, microBatchSize: 1, seqLength: 7 })).toThrow(ShapeError);
  expect(() => createBatchSource({ ...common, microBatchSize: 0 })).toThrow(ShapeError);
  expect(() => createBatchSource({ ...common, microBatchSize: 1, dataParallelRank: 1 })).toThrow(ShapeError);
});

describe('mock data', () => {
  test('counts, is the same every time, and differs between seeds, splits and samples', () => {
    const make = (seed: number, name = 'train') =>
      createMockDataset({ length: 4, sequenceLength: 300, vocabSize: 1000, seed, endOfDocument: 999, name });
    const { tokens } = make(1).sample(0);
    expect(make(1).sample(0).tokens).toEqual(tokens);
    for (const other of [make(2).sample(0), make(1, 'valid').sample(0), make(1).sample(1)]) {
      expect(other.tokens).not.toEqual(tokens);
    }
    const documents = tokens
      .join(',')
      .split(/,?999,?/)
      .map((text) => text.split(',').map(Number));
    expect(documents.length).toBeGreaterThan(2);
    for (const document of documents) {
      const steps = new Set(document.slice(1).map((token, i) => (token - (document[i] ?? 0) + 64) % 64));
      expect(steps.size).toBeLessThanOrEqual(1);
      for (const step of steps) expect([1, 2, 3]).toContain(step);
    }
  });

  test('for a whole run', () => {
    const options = { sequenceLength: 8, vocabSize: 100, seed: 5 };
    using built = buildMockDatasets({ ...options, samples: { train: 3, valid: 2, test: 0 } });
    expect([built.train?.length, built.valid?.length, built.test]).toEqual([3, 2, undefined]);
    expect(built.valid?.sample(0)).toEqual(createMockDataset({ ...options, length: 9, name: 'valid' }).sample(0));
    expect(built.valid?.sample(0)).not.toEqual(built.train?.sample(0));
  });

  test('ids stay inside a small vocabulary', () => {
    const tiny = createMockDataset({ length: 9, sequenceLength: 50, vocabSize: 5, seed: 1 });
    for (let i = 0; i < 9; i++) {
      for (const token of tiny.sample(i).tokens) expect(token).toBeLessThan(5);
    }
  });
});
