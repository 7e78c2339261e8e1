/** Against files written by Megatron itself; skipped where the shared data is absent. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDatasets, createBatchSource, openIndexedDataset, preprocess } from '../src/data/index.ts';

const shared = resolve(import.meta.dirname, '../../shared/data');
const pair = join(shared, 'megatron-mmididx');
const prefix = join(pair, 'meg-gpt2-openwebtext_text_document');
const input = join(shared, 'openwebtext-1000', 'openwebtext-1000.jsonl');
const absent = !existsSync(`${prefix}.bin`) || !existsSync(input);
if (absent) console.warn(`skipped: the comparison with Megatron's own files needs ${pair} and ${input}`);

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-data-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(absent)('a pair written by Megatron', () => {
  test.each([1, 2, 3])('comes out of preprocess byte for byte with %i worker(s)', async (workers) => {
    const [summary] = await preprocess({
      inputs: [input],
      tokenizer: {
        type: 'GPT2BPETokenizer',
        vocabFile: join(pair, 'gpt2-tiny-vocab.json'),
        mergeFile: join(pair, 'gpt2-tiny-merges.txt'),
      },
      appendEod: true,
      outputPrefix: join(folder, `workers-${workers}`),
      workers,
    });
    expect(summary).toMatchObject({ documents: 1000, tokens: 1_361_845, bytes: 2_723_690 });
    for (const ending of ['bin', 'idx']) {
      const ours = readFileSync(`${summary?.prefix}.${ending}`);
      expect(ours.equals(readFileSync(`${prefix}.${ending}`))).toBe(true);
    }
  });

  test('opens, and every document ends with 4999', () => {
    using dataset = openIndexedDataset(prefix);
    expect(dataset).toMatchObject({ dtype: 'uint16', documentCount: 1000, sequenceCount: 1000, tokenCount: 1_361_845 });
    for (let i = 0; i < dataset.sequenceCount; i++) {
      const tokens = dataset.readSequence(i);
      expect(tokens.indexOf(4999)).toBe(tokens.length - 1);
    }
  });

  test('gives batches whose masks follow its documents', () => {
    using built = buildDatasets({
      dataPath: [prefix],
      split: '969, 30, 1',
      samples: { train: 64, valid: 8, test: 0 },
      sequenceLength: 1024,
      seed: 1234,
      vocabSize: 5000,
      cachePath: join(folder, 'cache'),
    });
    // ⌊(tokens of the first 969 documents − 1) / 1024⌋ samples in the one epoch that is enough.
    using indexed = openIndexedDataset(prefix);
    const tokens = indexed.sequenceLengths.subarray(0, 969).reduce((sum, length) => sum + length, 0);
    expect(built.train?.length).toBe(Math.floor((tokens - 1) / 1024));
    expect(built.test).toBeUndefined();
    if (built.train === undefined) return;
    const source = createBatchSource({
      dataset: built.train,
      microBatchSize: 4,
      seqLength: 1024,
      consumedSamples: 0,
      eodId: 4999,
      resetPositionIds: true,
      resetAttentionMask: true,
      eodMaskLoss: true,
    });
    let ends = 0;
    for (const batch of source) {
      for (let i = 0; i < batch.tokens.length; i++) {
        const end = batch.tokens[i] === 4999;
        expect(batch.lossMask[i]).toBe(end ? 0 : 1);
        if (end) ends++;
        if (end && (i + 1) % 1024 !== 0)
          expect([batch.positionIds[i + 1], batch.firstKey?.[i + 1]]).toEqual([0, (i + 1) % 1024]);
      }
    }
    expect(ends).toBeGreaterThan(900);
  });
});
