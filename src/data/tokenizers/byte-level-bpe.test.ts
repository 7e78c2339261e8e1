/** Byte-level BPE against the golden tokenizations, a plain reading of the algorithm, and hostile text. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import { byteCharacters } from './byte-alphabet.ts';
import { type BpeVocabulary, createByteLevelBpe } from './byte-level-bpe.ts';
import { createCharacterClasses } from './character-classes.ts';
import { createTokenizer } from './create-tokenizer.ts';
import { builtInGpt2, readGpt2Files } from './gpt2-files.ts';
import { preTokenEnd } from './pre-tokens.ts';

/** GPT-2's own expression, with its white space spelled out. */
const gpt2Pattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const classes = createCharacterClasses();

function preTokens(text: string): string[] {
  const found: string[] = [];
  for (let start = 0; start < text.length; ) {
    const end = preTokenEnd(text, start, classes);
    found.push(text.slice(start, end));
    start = end;
  }
  return found;
}

/** The algorithm as it is told: while a merge applies, apply the best one, leftmost first. */
function plainEncoder(vocabulary: BpeVocabulary): (text: string) => number[] {
  const ids = new Map(vocabulary.tokens.map((token, id) => [token, id]));
  const ranks = new Map(vocabulary.merges.map(([left, right, merged], rank) => [`${left} ${right}`, { rank, merged }]));
  const characters = byteCharacters();
  const encodeWord = (word: string): number[] => {
    const symbols = [...new TextEncoder().encode(word)].map((byte) => ids.get(characters[byte] as string) as number);
    for (;;) {
      let best: { rank: number; merged: number; at: number } | undefined;
      for (let at = 0; at + 1 < symbols.length; at++) {
        const found = ranks.get(`${symbols[at]} ${symbols[at + 1]}`);
        if (found !== undefined && (best === undefined || found.rank < best.rank)) best = { ...found, at };
      }
      if (best === undefined) return symbols;
      symbols.splice(best.at, 2, best.merged);
    }
  };
  return (text) => preTokens(text).flatMap(encodeWord);
}

/** Text that meets every branch: spaces of all kinds, contractions, marks, wide letters, emoji. */
const tricky = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ' ',
        '  ',
        '\n',
        '\t',
        '\r\n',
        '\u00a0',
        '\u0085',
        '\u3000',
        '\ufeff',
        '\u2028',
        '\u001c',
        "'",
        "'s",
        "'re",
        "'ll",
        "'l",
        "'S",
        '’s',
      ),
      fc.constantFrom(
        'a',
        'the',
        'é',
        'e\u0301',
        '中文',
        '한국',
        '１',
        '½',
        '٣',
        '𝒳',
        '𠀀',
        '𝟘',
        '😀',
        '👩‍👩‍👧',
        '🇩🇪',
        '_',
        '…',
        '<|endoftext|>',
        '\0',
      ),
      fc.string({ unit: 'grapheme', maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(''));

describe('GPT-2 pre-tokens', () => {
  it('are cut as the regular expression cuts', () => {
    fc.assert(
      fc.property(tricky, (text) => {
        expect(preTokens(text)).toEqual(text.match(gpt2Pattern) ?? []);
      }),
      { numRuns: 2000, seed: 1 },
    );
  });

  it('class every character as its Unicode properties say', () => {
    const names = [/^[^\p{L}\p{N}\p{White_Space}]$/u, /^\p{L}$/u, /^\p{N}$/u, /^\p{White_Space}$/u];
    const wrong: number[] = [];
    for (let code = 0; code < 0x110000; code++) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const kind = code < 65536 ? (classes.basic[code] as number) : classes.wide(code);
      if (!(names[kind] as RegExp).test(String.fromCodePoint(code))) wrong.push(code);
    }
    expect(wrong).toEqual([]);
  });

  it('keep lone surrogates among the signs', () => {
    expect(preTokens('a\ud800\udc00b\ud800 \udc00!')).toEqual(['a𐀀b', '\ud800', ' \udc00!']);
  });
});

describe('the built-in GPT-2 vocabulary', () => {
  const gpt2 = builtInGpt2();
  const tokenizer = createByteLevelBpe('GPT2BPETokenizer', gpt2);
  const encodePlainly = plainEncoder(gpt2);

  it('is the released one, merges and all', (context) => {
    const files = readGpt2Files(
      sharedData(context, 'gpt2-bpe/encoder.json'),
      sharedData(context, 'gpt2-bpe/vocab.bpe'),
    );
    expect(tokenizer.vocabSize).toBe(50257);
    expect(tokenizer.endOfDocument).toBe(50256);
    // Compared as one string: a difference would otherwise be printed in 100,000 lines.
    expect(JSON.stringify(gpt2.tokens) === JSON.stringify(files.tokens)).toBe(true);
    expect(JSON.stringify(gpt2.merges) === JSON.stringify(files.merges)).toBe(true);
    expect(createByteLevelBpe('GPT2BPETokenizer', files).identity).toBe(tokenizer.identity);
  });

  it('gives the golden ids', (context) => {
    const golden = JSON.parse(readFileSync(sharedData(context, 'hf-swift-fixtures/encoded_tokens.json'), 'utf8')) as {
      text: string;
      bpe_tokens: string[];
      token_ids: number[];
    };
    const ids = tokenizer.encode(golden.text);
    expect([...ids]).toEqual(golden.token_ids);
    expect([...ids].map((id) => gpt2.tokens[id])).toEqual(golden.bpe_tokens);
    expect(tokenizer.decode(ids)).toBe(golden.text);
  });

  it('gives the ids of the files on wikitext-103, and the text back', (context) => {
    const files = createTokenizer({
      type: 'GPT2BPETokenizer',
      vocabFile: sharedData(context, 'gpt2-bpe/encoder.json'),
      mergeFile: sharedData(context, 'gpt2-bpe/vocab.bpe'),
    });
    for (const name of ['wiki.test.raw', 'wiki.test.tokens', 'wiki.valid.tokens']) {
      const text = readFileSync(sharedData(context, `wikitext-103/${name}`), 'utf8');
      const ids = tokenizer.encode(text);
      expect(Buffer.compare(Buffer.from(files.encode(text).buffer), Buffer.from(ids.buffer))).toBe(0);
      expect(tokenizer.decode(ids) === text).toBe(true);
    }
  });

  it('knows well-known ids', () => {
    expect([...tokenizer.encode('Hello world')]).toEqual([15496, 995]);
    expect([...tokenizer.encode(" don't  stop\n\n")]).toEqual([836, 470, 220, 2245, 628]);
    expect(tokenizer.encode('')).toEqual(new Int32Array(0));
  });

  it('encodes as the plain algorithm does', () => {
    fc.assert(
      fc.property(tricky, (text) => {
        expect([...tokenizer.encode(text)]).toEqual(encodePlainly(text.toWellFormed()));
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  it('encodes long pre-tokens, which go through the heap, as the plain algorithm does', () => {
    const letters = fc.string({
      unit: fc.constantFrom('a', 'b', 'e', 'n', 's', 't', 'é', '中'),
      minLength: 40,
      maxLength: 300,
    });
    fc.assert(
      fc.property(letters, (text) => {
        expect([...tokenizer.encode(text)]).toEqual(encodePlainly(text));
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  it('gives every valid text back', () => {
    fc.assert(
      fc.property(fc.oneof(tricky, fc.string({ unit: 'binary' })), (text) => {
        const ids = tokenizer.encode(text);
        expect(tokenizer.decode(ids)).toBe(text.toWellFormed());
        expect(Buffer.concat([...ids].map((id) => tokenizer.decodeBytes(id))).toString()).toBe(text.toWellFormed());
      }),
      { numRuns: 1000, seed: 4 },
    );
  });

  it('takes lone surrogates for U+FFFD', () => {
    for (const text of ['\ud83d', 'a\udc00b', '\udc00\ud83d', `${'x'.repeat(100)}\ud83d${'y'.repeat(100)}`])
      expect(tokenizer.encode(text)).toEqual(tokenizer.encode(text.toWellFormed()));
  });

  it('reads a special token in the text as ordinary text', () => {
    const ids = tokenizer.encode('a<|endoftext|>b');
    expect([...ids]).not.toContain(50256);
    expect(tokenizer.decode([...ids, 50256])).toBe('a<|endoftext|>b<|endoftext|>');
  });

  it('encodes a megabyte of one letter in time, and of one sign', () => {
    // Quadratic merging would take hours; the bound leaves room for a busy machine.
    const begin = performance.now();
    const ids = tokenizer.encode('a'.repeat(1 << 20));
    expect(tokenizer.decode(ids)).toBe('a'.repeat(1 << 20));
    expect(ids.length).toBeLessThan(1 << 19);
    tokenizer.encode('='.repeat(1 << 20));
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  it('forgets, and stays right, when there are more words than it remembers', () => {
    const text = Array.from({ length: 70_000 }, (_, index) => `w${(index * 2654435761) % 2 ** 32}x`).join(' ');
    const first = tokenizer.encode(text);
    expect(tokenizer.decode(first) === text).toBe(true);
    expect(Buffer.compare(Buffer.from(tokenizer.encode(text).buffer), Buffer.from(first.buffer))).toBe(0);
  });

  it('refuses ids beyond the vocabulary', () => {
    for (const id of [50257, -1, 0.5, Number.NaN]) {
      expect(() => tokenizer.decode([id])).toThrow(/not in the vocabulary of 50257/);
      expect(() => tokenizer.decodeBytes(id)).toThrow(/not in the vocabulary/);
    }
  });
});

describe("Megatron's small vocabulary", () => {
  it('gives the ids that Megatron wrote for 1,000 documents', (context) => {
    const tokenizer = createTokenizer({
      type: 'GPT2BPETokenizer',
      vocabFile: sharedData(context, 'megatron-mmididx/gpt2-tiny-vocab.json'),
      mergeFile: sharedData(context, 'megatron-mmididx/gpt2-tiny-merges.txt'),
    });
    expect(tokenizer.vocabSize).toBe(5000);
    expect(tokenizer.endOfDocument).toBe(4999);
    const lines = readFileSync(sharedData(context, 'openwebtext-1000/openwebtext-1000.jsonl'), 'utf8')
      .trimEnd()
      .split('\n');
    const expected = readFileSync(sharedData(context, 'megatron-mmididx/meg-gpt2-openwebtext_text_document.bin'));
    const parts = lines.map((line) =>
      Uint16Array.from([...tokenizer.encode((JSON.parse(line) as { text: string }).text), 4999]),
    );
    const written = Buffer.concat(parts.map((part) => Buffer.from(part.buffer)));
    expect(Buffer.compare(written, expected)).toBe(0);
  });
});
