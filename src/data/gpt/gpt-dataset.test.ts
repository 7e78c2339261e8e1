/** Samples against a plain concatenation of the documents; the splits of a run. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataError } from '../../base/errors.ts';
import { openIndexedDataset } from '../indexed-dataset/reader.ts';
import { createIndexedDatasetWriter } from '../indexed-dataset/writer.ts';
import { buildDatasets } from './build.ts';
import { createGptDataset } from './gpt-dataset.ts';
import { buildSampleIndex } from './sample-index.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-gpt-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, documents: readonly (readonly number[])[]): string {
  const prefix = join(folder, name);
  using writer = createIndexedDatasetWriter(prefix, 'uint16');
  for (const tokens of documents) {
    writer.append(Uint16Array.from(tokens));
    writer.endSequence();
    writer.endDocument();
  }
  writer.finish();
  return prefix;
}

/** Document d of n tokens is d·100, d·100 + 1, …: every token tells where it is from. */
const countingDocuments = (sizes: readonly number[]) =>
  sizes.map((size, document) => Array.from({ length: size }, (_, i) => document * 100 + i));

const silent = () => undefined;

test('samples are slices of the documents laid end to end', () => {
  let run = 0;
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 12 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 40 }),
      fc.nat(),
      (sizes, sequenceLength, sampleCount, seed) => {
        const documents = countingDocuments(sizes);
        using indexed = openIndexedDataset(write(`any-${run++}`, documents));
        const range = { begin: 1, end: sizes.length };
        const options = { range, sampleCount, sequenceLength, seed };
        const dataset = createGptDataset({ ...options, indexed, split: 'train' });
        const index = buildSampleIndex({ ...options, sequenceLengths: indexed.sequenceLengths });
        const stream = [...index.documentIndex].flatMap((document) => documents[document] ?? []);
        expect(dataset.length).toBeGreaterThanOrEqual(sampleCount);
        for (let i = 0; i < dataset.length; i++) {
          const start = (index.shuffleIndex[i] ?? 0) * sequenceLength;
          expect([...dataset.sample(i).tokens]).toEqual(stream.slice(start, start + sequenceLength + 1));
        }
      },
    ),
    { numRuns: 25 },
  );
});

test('an id outside the vocabulary is named with its document and place', () => {
  const prefix = write('pair', [
    [1, 2, 3, 4],
    [5, 6, 70, 8],
  ]);
  using indexed = openIndexedDataset(prefix);
  const options = {
    indexed,
    split: 'train',
    range: { begin: 0, end: 2 },
    sampleCount: 7,
    sequenceLength: 1,
    seed: 1,
  } as const;
  const readAll = (vocabSize: number | undefined) => {
    const dataset = createGptDataset({ ...options, vocabSize });
    for (let i = 0; i < dataset.length; i++) dataset.sample(i);
  };
  expect(() => readAll(70)).toThrow(/document 1 has the id 70 at token 2, but the vocabulary has 70 ids/);
  expect(() => readAll(71)).not.toThrow();
  expect(() => readAll(undefined)).not.toThrow();
});

describe('train, valid and test of a run', () => {
  const samples = { train: 20, valid: 6, test: 2 };
  const base = { split: '6,3,1', samples, sequenceLength: 4, seed: 7 };

  test('every split draws from its own documents', () => {
    const prefix = write('pair', countingDocuments(new Array(10).fill(30)));
    using built = buildDatasets({ ...base, dataPath: [prefix] });
    const documentsOf = (dataset = built.train) => {
      const found = new Set<number>();
      for (let i = 0; i < (dataset?.length ?? 0); i++) {
        for (const token of dataset?.sample(i).tokens ?? []) found.add(Math.floor(token / 100));
      }
      return [...found].sort((a, b) => a - b);
    };
    expect(documentsOf(built.train)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(documentsOf(built.valid)).toEqual([6, 7, 8]);
    expect(documentsOf(built.test)).toEqual([9]);
  });

  test('an empty split is named, unless it is not needed', () => {
    const prefix = write('pair', countingDocuments([30, 30]));
    const build = (valid: number) =>
      buildDatasets({ ...base, split: '99,1,0', dataPath: [prefix], samples: { ...samples, valid, test: 0 } });
    expect(() => build(6)).toThrow(DataError);
    expect(() => build(6)).toThrow(
      /the valid split of .*pair is empty: it has 0 tokens in 0 of the data set's 2 documents/,
    );
    using built = build(0);
    expect([built.train?.length, built.valid, built.test]).toEqual([29, undefined, undefined]);
  });

  test('weighted blends repeat small data sets; unweighted ones do not', () => {
    const a = write('a', countingDocuments(new Array(10).fill(30)));
    const b = write(
      'b',
      countingDocuments(new Array(10).fill(3)).map((tokens) => tokens.map((token) => token + 5000)),
    );
    using built = buildDatasets({ ...base, dataPath: ['1', a, '1', b], samples: { train: 50, valid: 0, test: 0 } });
    let fromB = 0;
    for (let i = 0; i < 50; i++) if ((built.train?.sample(i).tokens[0] ?? 0) >= 5000) fromB++;
    expect(built.train?.length).toBe(50);
    expect(fromB).toBe(25);
    // One epoch of the train split: ⌊(6·30 − 1) / 4⌋ = 44 of a, ⌊(6·3 − 1) / 4⌋ = 4 of b.
    const unweighted = (train: number) =>
      buildDatasets({ ...base, dataPath: [a, b], samples: { train, valid: 0, test: 0 } });
    expect(() => unweighted(49)).toThrow(/needs 49 train samples, but one epoch of the 2 data sets has 48/);
    using whole = unweighted(48);
    const seen = new Set(Array.from({ length: 48 }, (_, i) => whole.train?.sample(i).tokens.join(' ')));
    expect(seen.size).toBe(48);
  });
});

test('a data set without one whole sample is refused', () => {
  const prefix = write('tiny', [[1, 2, 3]]);
  using indexed = openIndexedDataset(prefix);
  const tiny = { indexed, split: 'train', range: { begin: 0, end: 1 }, seed: 1, warn: silent } as const;
  expect(() => createGptDataset({ ...tiny, sampleCount: undefined, sequenceLength: 3 })).toThrow(
    /too short for one sample/,
  );
  expect(createGptDataset({ ...tiny, sampleCount: undefined, sequenceLength: 2 }).length).toBe(1);
  expect(createGptDataset({ ...tiny, sampleCount: 1, sequenceLength: 7 }).sample(0).tokens).toEqual(
    Int32Array.of(1, 2, 3, 1, 2, 3, 1, 2),
  );
});
