/** Sources that fit and sources that do not: every message names the file and what to do. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError, MegatronError, UsageError } from '../../base/errors.ts';
import { byteCharacters, bytesInIdOrder } from './byte-alphabet.ts';
import { createTokenizer } from './create-tokenizer.ts';
import type { TokenizerSource, TokenizerType } from './tokenizer.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tokenizers-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The 256 bytes and `more`, numbered on. */
function vocabulary(...more: string[]): Record<string, number> {
  const characters = byteCharacters();
  const tokens = [...bytesInIdOrder().map((byte) => characters[byte] as string), ...more];
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

function gpt2(vocab: unknown, merges: string): TokenizerSource {
  const text = typeof vocab === 'string' ? vocab : JSON.stringify(vocab);
  return { type: 'GPT2BPETokenizer', vocabFile: file('vocab.json', text), mergeFile: file('merges.txt', merges) };
}

function failure(source: TokenizerSource): MegatronError {
  try {
    createTokenizer(source);
  } catch (error) {
    expect(error).toBeInstanceOf(MegatronError);
    const failed = error as MegatronError;
    expect(failed.remedy).toBeTruthy();
    return failed;
  }
  throw new Error('nothing was thrown');
}

describe('GPT2BPETokenizer from files', () => {
  it('reads merges with and without a version line, LF or CRLF', () => {
    const vocab = vocabulary('ab', 'abc', '<|endoftext|>');
    for (const merges of ['#version: 0.2\na b\nab c\n', 'a b\nab c', '#version: 0.2\r\na b\r\nab c\r\n']) {
      const tokenizer = createTokenizer(gpt2(vocab, merges));
      expect([...tokenizer.encode('abcab')]).toEqual([257, 256]);
      expect(tokenizer.endOfDocument).toBe(258);
    }
  });

  it('needs no end of document, and lets ids be unused', () => {
    const tokenizer = createTokenizer(gpt2({ ...vocabulary(), '<x>': 300 }, ''));
    expect(tokenizer.endOfDocument).toBeUndefined();
    expect(tokenizer.vocabSize).toBe(301);
    expect(tokenizer.decode([300])).toBe('<x>');
    expect(() => tokenizer.decode([299])).toThrow(/token id 299/);
  });

  it('decodes special tokens to their own text, whatever letters they have', () => {
    const tokenizer = createTokenizer(gpt2(vocabulary('<Ende é>'), ''));
    expect(tokenizer.decode([256])).toBe('<Ende é>');
  });

  it('has another identity with another merge or token', () => {
    const identityOf = (tokens: readonly string[], merges: string): string =>
      createTokenizer(gpt2(vocabulary(...tokens), merges)).identity;
    const identities = [
      identityOf(['ab', 'cd'], 'a b\nc d\n'),
      identityOf(['ab', 'cd'], 'c d\na b\n'),
      identityOf(['cd', 'ab'], 'a b\nc d\n'),
    ];
    expect(new Set(identities).size).toBe(3);
  });

  const wrong: readonly (readonly [what: string, vocab: unknown, merges: string, message: RegExp])[] = [
    [
      'a merge of an unknown token',
      vocabulary('ab'),
      'a b\nab c\n',
      /merges\.txt:2: the merge of "ab" and "c" needs the token "abc", which .*vocab\.json lacks/,
    ],
    [
      'a line of three',
      vocabulary('ab'),
      '#version: 0.2\na b\na b c\n',
      /merges\.txt:3: expected two tokens .* found "a b c"/,
    ],
    ['an empty line', vocabulary('ab', 'cd'), 'a b\n\nc d\n', /merges\.txt:2: expected two tokens/],
    ['files swapped', 'a b\nab c\n', JSON.stringify(vocabulary()), /vocab\.json is not JSON/],
    ['a list', ['a', 'b'], '', /holds no vocabulary/],
    ['an empty vocabulary', {}, '', /empty vocabulary/],
    ['an id that is no number', { a: 'b' }, '', /the id of "a" is "b"/],
    ['a negative id', { a: -1 }, '', /the id of "a" is -1/],
    ['an id given twice', { a: 0, b: 0 }, '', /"a" and "b" have the same id 0/],
    ['an id far out', { a: 1e9 }, '', /ids reach 1000000000, but there are only 1 tokens/],
    ['missing bytes', { a: 0, b: 1 }, '', /no token for 254 of the 256 bytes \(the first is 0x00\)/],
  ];
  it.each(wrong)('refuses %s', (_, vocab, merges, message) => {
    const failed = failure(gpt2(vocab, merges));
    expect(failed).toBeInstanceOf(DataError);
    expect(failed.message).toMatch(message);
  });

  it('refuses files that are missing or no text', () => {
    const good = file('good.json', JSON.stringify(vocabulary()));
    const missing = join(folder, 'missing');
    const notText = file('binary', Uint8Array.of(0xff, 0xfe, 0x00));
    const of = (vocabFile: string, mergeFile: string) => failure({ type: 'GPT2BPETokenizer', vocabFile, mergeFile });
    expect(of(missing, good).message).toMatch(/cannot read the vocabulary, .*missing/);
    expect(of(good, missing).message).toMatch(/cannot read the merges, .*missing/);
    expect(of(good, notText).message).toMatch(/binary is not UTF-8 text/);
    expect(of(folder, good).message).toMatch(/cannot read the vocabulary/);
  });
});

describe('sources', () => {
  it('name the files that their type reads, and no others', () => {
    const cases: readonly (readonly [TokenizerSource, RegExp])[] = [
      [{ type: 'GPT2BPETokenizer', vocabFile: 'v' }, /vocabulary but no merge file/],
      [{ type: 'GPT2BPETokenizer', mergeFile: 'm' }, /merge file but no vocabulary/],
      [{ type: 'GPT2BPETokenizer', tokenizerModel: 't' }, /does not use --tokenizer-model \(t\)/],
      [{ type: 'BertWordPieceLowerCase' }, /needs a vocabulary/],
      [{ type: 'BertWordPieceLowerCase', vocabFile: 'v', mergeFile: 'm' }, /does not use --merge-file/],
      [{ type: 'HuggingFaceTokenizer' }, /needs a tokenizer\.json/],
      [{ type: 'HuggingFaceTokenizer', tokenizerModel: 't', vocabFile: 'v' }, /does not use --vocab-file/],
      [{ type: 'ByteLevel', vocabFile: 'v' }, /does not use --vocab-file/],
      [{ type: 'Morse' as TokenizerType }, /unknown tokenizer type "Morse"/],
    ];
    for (const [source, message] of cases) {
      const failed = failure(source);
      expect(failed).toBeInstanceOf(UsageError);
      expect(failed.message).toMatch(message);
    }
  });
});

describe('ByteLevel', () => {
  const tokenizer = createTokenizer({ type: 'ByteLevel' });

  it('is the bytes of the text and one more id', () => {
    expect([...tokenizer.encode('é!')]).toEqual([0xc3, 0xa9, 0x21]);
    expect([tokenizer.vocabSize, tokenizer.endOfDocument]).toEqual([257, 256]);
    expect(tokenizer.decode([0x61, 256, 0x62])).toBe('ab');
    expect(() => tokenizer.decode([257])).toThrow(/token id 257/);
  });

  it('gives every text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.toWellFormed());
      }),
      { seed: 6 },
    );
  });
});
