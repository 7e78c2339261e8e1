/** Against files written by Megatron itself; skipped where the shared data is absent. */

import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildSampleIndex } from '../src/data/gpt/sample-index.ts';
import { buildDatasets, createBatchSource, openIndexedDataset, preprocess } from '../src/data/index.ts';

const shared = resolve(import.meta.dirname, '../../shared/data');
const pair = join(shared, 'megatron-mmididx');
const prefix = join(pair, 'meg-gpt2-openwebtext_text_document');
const input = join(shared, 'openwebtext-1000', 'openwebtext-1000.jsonl');
const absent = !existsSync(`${prefix}.bin`) || !existsSync(input);
if (absent)
  console.warn(
    "skipped: the comparison with Megatron's own files needs the optional reference data beside the repository (../shared/data)",
  );

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

  // SHA-256 of the three arrays as NumPy 2.4 makes them (RandomState, cumsum and searchsorted) for the split "969,30,1".
  test.each([
    [
      'train, the last epoch shuffled with the others',
      { begin: 0, end: 969, wanted: 5000, samples: 5195, separate: false },
      '4ee31374e9aefc6166f919f6a83e7270dc7234c4c44a9c0babab5ef73451e386',
      '1e003c63930f90177bf140117c1e9cb5fe22e496215f3046f3c9e07382e3e69a',
      '98009ff7f51dd73a33cc43cfce79af7dbdff402c8967fe22db07b5f1be3c42af',
    ],
    [
      'valid, the last epoch by itself',
      { begin: 969, end: 999, wanted: 100, samples: 121, separate: true },
      '5dd569bd182176c82883677eaec0863a69146d9c63ddb1ce2df30af9d58386d6',
      '3b49af307b57ce33a793e66c3795bc3d0cd8bf7f88e93037522d529b95dcdd50',
      'd791cfaa5c82b30b8567e3d67010589dbf83a48c694a55f4ed5c20459e53946d',
    ],
    [
      'test, one document',
      { begin: 999, end: 1000, wanted: 10, samples: 10, separate: false },
      '880dd8b480c6aad4bb0046c3b20e8b45a97dc64880c259b24376fd0dccd1af57',
      '660fab76cd16429603716648e69c121f46d22fee42123f5d36ac3d80968cd8dc',
      '4449c0ddc961c12e95edb2c9140269a7b1f41c65f2bf4043094703da770268ae',
    ],
  ])('has the sample index that NumPy gives: %s', (_name, { begin, end, wanted, samples, separate }, ...hashes) => {
    using dataset = openIndexedDataset(prefix);
    const { plan, documentIndex, sampleIndex, shuffleIndex } = buildSampleIndex({
      sequenceLengths: dataset.sequenceLengths,
      range: { begin, end },
      sampleCount: wanted,
      sequenceLength: 1024,
      seed: 1234,
    });
    expect(plan).toMatchObject({ samples, separateFinalEpoch: separate });
    const sha256 = (array: Uint8Array | Int32Array | Uint32Array) => createHash('sha256').update(array).digest('hex');
    expect([documentIndex, sampleIndex, shuffleIndex].map(sha256)).toEqual(hashes);
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
    let wrong = 0;
    for (const { tokens: row, lossMask, positionIds, firstKey } of source) {
      for (let i = 0; i < row.length; i++) {
        const end = row[i] === 4999;
        if (lossMask[i] !== (end ? 0 : 1)) wrong++;
        if (!end) continue;
        ends++;
        const next = (i + 1) % 1024;
        if (next !== 0 && (positionIds[i + 1] !== 0 || firstKey?.[i + 1] !== next)) wrong++;
      }
    }
    expect(wrong).toBe(0);
    expect(ends).toBeGreaterThan(900);
  });
});
