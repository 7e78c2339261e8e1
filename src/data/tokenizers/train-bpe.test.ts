/** Training against a trainer so plain that it cannot be wrong, and the files it writes. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import { byteCharacters, bytesInIdOrder } from './byte-alphabet.ts';
import { createTokenizer } from './create-tokenizer.ts';
import { type TrainBpeProgress, trainByteLevelBpe } from './train-bpe.ts';
import { writeTokenizerFiles } from './write-tokenizer-files.ts';

const gpt2Pattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Counts everything anew for every merge. */
function trainPlainly(
  texts: readonly string[],
  vocabSize: number,
  minFrequency: number,
): { tokens: string[]; merges: string[][] } {
  const characters = byteCharacters();
  const tokens = bytesInIdOrder().map((byte) => characters[byte] as string);
  const merges: string[][] = [];
  const order = bytesInIdOrder();
  const words = texts
    .flatMap((text) => text.match(gpt2Pattern) ?? [])
    .map((word) => [...new TextEncoder().encode(word)].map((byte) => order.indexOf(byte)));
  while (tokens.length < vocabSize - 1) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let at = 0; at + 1 < word.length; at++)
        counts.set(`${word[at]} ${word[at + 1]}`, (counts.get(`${word[at]} ${word[at + 1]}`) ?? 0) + 1);
    const best = [...counts]
      .map(([pair, count]) => ({ count, pair: pair.split(' ').map(Number) as [number, number] }))
      .filter(({ count }) => count >= minFrequency)
      .sort((one, other) => other.count - one.count || one.pair[0] - other.pair[0] || one.pair[1] - other.pair[1])[0];
    if (best === undefined) break;
    const [left, right] = best.pair;
    const parts = [tokens[left] as string, tokens[right] as string];
    const spelled = parts.join('');
    const id = tokens.includes(spelled) ? tokens.indexOf(spelled) : tokens.push(spelled) - 1;
    if (!merges.some((merge) => merge[0] === parts[0] && merge[1] === parts[1])) merges.push(parts);
    for (const word of words)
      for (let at = 0; at + 1 < word.length; at++)
        if (word[at] === left && word[at + 1] === right) word.splice(at, 2, id);
  }
  return { tokens: [...tokens, '<|endoftext|>'], merges };
}

describe('trainByteLevelBpe', () => {
  it('finds the merges that the plain trainer finds, in random texts', async () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', 'é', '1', '\n'), maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(letters, { maxLength: 6 }),
        fc.integer({ min: 257, max: 300 }),
        fc.integer({ min: 1, max: 3 }),
        async (texts, vocabSize, minFrequency) => {
          const { tokens, merges } = await trainByteLevelBpe({ texts, vocabSize, minFrequency });
          expect({ tokens, merges }).toEqual(trainPlainly(texts, vocabSize, minFrequency));
        },
      ),
      { numRuns: 120, seed: 5 },
    );
  });

  it('finds them in Shakespeare', async (context) => {
    const text = readFileSync(sharedData(context, 'tinyshakespeare/input.txt'), 'utf8').slice(0, 12_000);
    const { tokens, merges } = await trainByteLevelBpe({ texts: [text], vocabSize: 420 });
    expect({ tokens, merges }).toEqual(trainPlainly([text], 420, 2));
  });

  it('is the same from any pieces, and from an asynchronous source', async (context) => {
    const text = readFileSync(sharedData(context, 'tinyshakespeare/input.txt'), 'utf8').slice(0, 300_000);
    const whole = await trainByteLevelBpe({ texts: [text], vocabSize: 1000 });
    async function* lines(): AsyncGenerator<string> {
      yield* text.split(/(?=(?<=\S) )/);
    }
    expect(await trainByteLevelBpe({ texts: lines(), vocabSize: 1000 })).toEqual(whole);
    expect(whole.tokens.length).toBe(1000);
  });

  it('gives special tokens the last ids and stops where pairs run out', async () => {
    const trained = await trainByteLevelBpe({
      texts: ['ab ab ab'],
      vocabSize: 5000,
      specialTokens: ['<|endoftext|>', '<|pad|>'],
    });
    expect(trained.merges).toEqual([
      ['a', 'b'],
      ['Ġ', 'ab'],
    ]);
    expect(trained.tokens.slice(256)).toEqual(['ab', 'Ġab', '<|endoftext|>', '<|pad|>']);
  });

  it('reports progress, up to the end', async () => {
    const seen: TrainBpeProgress[] = [];
    await trainByteLevelBpe({
      texts: ['ab ab ab', ' cd cd cd'],
      vocabSize: 260,
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen).toEqual([
      { stage: 'read', done: 8 },
      { stage: 'read', done: 17 },
      { stage: 'merge', done: 3, total: 3 },
    ]);
  });

  it('stays fast on text without spaces', async () => {
    let state = 1;
    const noise = Array.from({ length: 300_000 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return String.fromCharCode(97 + ((state >> 16) % 26));
    }).join('');
    const begin = performance.now();
    const trained = await trainByteLevelBpe({ texts: [noise, 'a'.repeat(1 << 20)], vocabSize: 2048 });
    expect(trained.tokens.length).toBe(2048);
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  it('refuses what cannot be', async () => {
    await expect(trainByteLevelBpe({ texts: [], vocabSize: 256 })).rejects.toThrow(/too small/);
    await expect(trainByteLevelBpe({ texts: [], vocabSize: 300.5 })).rejects.toThrow(/too small/);
    await expect(trainByteLevelBpe({ texts: [], vocabSize: 300, specialTokens: ['<x>', '<x>'] })).rejects.toThrow(
      /must differ/,
    );
    await expect(trainByteLevelBpe({ texts: [], vocabSize: 300, minFrequency: Number.NaN })).rejects.toThrow(
      /minimum frequency/,
    );
    expect((await trainByteLevelBpe({ texts: [], vocabSize: 300 })).tokens.length).toBe(257);
  });
});

describe('writeTokenizerFiles', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'trained-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('writes files that give one and the same tokenizer both ways', async () => {
    const texts = [
      'the cat sat on the mat, 10 cats sat; the café’s cat__proto__ __proto__ constructor constructor '.repeat(5),
    ];
    const trained = await trainByteLevelBpe({ texts, vocabSize: 330 });
    const files = writeTokenizerFiles(trained, join(folder, 'new', 'folder'));
    const fromModel = createTokenizer({ type: 'HuggingFaceTokenizer', tokenizerModel: files.tokenizerModel });
    const fromFiles = createTokenizer({
      type: 'GPT2BPETokenizer',
      vocabFile: files.vocabFile,
      mergeFile: files.mergeFile,
    });
    expect(fromModel.vocabSize).toBe(trained.tokens.length);
    expect(fromModel.endOfDocument).toBe(trained.tokens.length - 1);
    expect(fromModel.identity).toBe(fromFiles.identity);
    expect(fromModel.encodesInPieces).toBe(true);
    for (const text of [...texts, 'unseen words: Zürich 中文 😀\n\n']) {
      expect(fromModel.encode(text)).toEqual(fromFiles.encode(text));
      expect(fromModel.decode(fromModel.encode(text))).toBe(text);
    }
  });
});
