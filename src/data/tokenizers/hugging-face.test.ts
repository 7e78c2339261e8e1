/** tokenizer.json files of every kind against the ids and texts of Hugging Face's own library (fixtures made by `make.py` beside them). */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenizer } from './create-tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

interface Fixture {
  readonly samples: readonly string[];
  readonly cases: readonly {
    readonly name: string;
    readonly vocabSize: number;
    readonly ids: readonly (readonly number[])[];
    readonly decoded: readonly string[];
    readonly tokenizer: Record<string, unknown>;
  }[];
}

const fixture = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../test/fixtures/tokenizers/hugging-face.json'), 'utf8'),
) as Fixture;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hugging-face-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function load(tokenizer: unknown): Tokenizer {
  const tokenizerModel = join(folder, 'tokenizer.json');
  writeFileSync(tokenizerModel, typeof tokenizer === 'string' ? tokenizer : JSON.stringify(tokenizer));
  return createTokenizer({ type: 'HuggingFaceTokenizer', tokenizerModel });
}

describe.each(fixture.cases)('$name', ({ name, vocabSize, ids, decoded, tokenizer: file }) => {
  it('gives the same ids, special tokens in the text being text', () => {
    const tokenizer = load(file);
    expect(tokenizer.vocabSize).toBe(vocabSize);
    fixture.samples.forEach((sample, index) => {
      expect([...tokenizer.encode(sample)]).toEqual(ids[index]);
    });
  });

  it('decodes to the same texts, also byte by byte', () => {
    const tokenizer = load(file);
    ids.forEach((row, index) => {
      expect(tokenizer.decode(row)).toBe(decoded[index]);
      const bytes = Buffer.concat(row.map((id) => tokenizer.decodeBytes(id))).toString();
      // Where spaces are put before words, the first has one that the whole text drops.
      expect(name.includes('byte_level') ? bytes : bytes.replace(/^ /, '')).toBe(decoded[index]);
    });
    expect(() => tokenizer.decode([vocabSize])).toThrow(/not in the vocabulary/);
    expect(() => tokenizer.decodeBytes(-1)).toThrow(/not in the vocabulary/);
  });
});

describe('tokenizer.json', () => {
  const named = (name: string): Record<string, unknown> => {
    const found = fixture.cases.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no fixture ${name}`);
    return found.tokenizer;
  };

  it('is encoded by us where it is the plain GPT-2 kind, and only there', () => {
    const fast = fixture.cases.filter((one) => load(one.tokenizer).encodesInPieces === true).map((one) => one.name);
    expect(fast).toEqual(['plain_byte_level']);
  });

  it('has the end of document that it names', () => {
    const ends = Object.fromEntries(fixture.cases.map((one) => [one.name, load(one.tokenizer).endOfDocument]));
    expect(ends).toMatchObject({ word_piece: undefined, metaspace_bpe: 2, unigram: 1, plain_byte_level: 0 });
  });

  it('changes its identity with its vocabulary, and not with its layout', () => {
    const file = named('unigram');
    const identity = load(file).identity;
    expect(load(JSON.stringify(file, null, 2)).identity).toBe(identity);
    expect(load({ ...file, normalizer: null }).identity).not.toBe(identity);
    expect(new Set(fixture.cases.map((one) => load(one.tokenizer).identity)).size).toBe(fixture.cases.length);
  });

  it('says so where a text is too long for the library', () => {
    expect(() => load(named('unigram')).encode('word '.repeat(60_000))).toThrow(
      /a text of 300000 characters cannot be encoded/,
    );
  });

  const damaged: readonly (readonly [what: string, file: unknown, message: RegExp])[] = [
    ['cut off', '{"model": {', /is not JSON/],
    ['a list', [], /not a Hugging Face tokenizer/],
    ['without a model', { added_tokens: [] }, /has no "model"/],
    ['of an unknown kind', { ...named('unigram'), model: { type: 'Oracle', vocab: {} } }, /cannot be read/],
    [
      'with an added token without id',
      { ...named('unigram'), added_tokens: [{ content: '<x>' }] },
      /entry 0 of "added_tokens"/,
    ],
    [
      'with an id given twice',
      { ...named('plain_byte_level'), added_tokens: [{ id: 5, content: '<x>', special: true }] },
      /has the id 5 of/,
    ],
    [
      'with a merge of unknown tokens',
      { ...named('plain_byte_level'), model: { ...(named('plain_byte_level').model as object), merges: ['a b'] } },
      /merge 0: the merge of "a" and "b" needs the token "ab"/,
    ],
    [
      'with a merge that is no pair',
      { ...named('plain_byte_level'), model: { ...(named('plain_byte_level').model as object), merges: ['a b c'] } },
      /merge 0 is not a pair/,
    ],
  ];
  it.each(damaged)('%s is refused', (_, file, message) => {
    expect(() => load(file)).toThrow(message);
  });
});
