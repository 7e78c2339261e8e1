/** Plain text read in pieces: joined they are the file, and tokenizers see no seam. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import {
  allPieces as all,
  readFailure as failure,
  temporaryFiles,
} from '../../../test/fixtures/tokenizers/text-files.ts';
import { createTokenizer } from '../tokenizers/create-tokenizer.ts';
import type { InvalidDocument } from './documents.ts';

const { file } = temporaryFiles();

describe('plain text', () => {
  it('is one document, in pieces that join to the whole', async () => {
    const content = `${'word and '.repeat(400)}\n\n  the end \n`;
    const pieces = await all(file('plain.txt', content), { blockBytes: 100 });
    expect(pieces.length).toBeGreaterThan(20);
    expect(pieces.flatMap((piece) => piece.texts).join('')).toBe(content);
    expect(pieces.map((piece) => piece.endsDocument)).toEqual(pieces.map((_, index) => index === pieces.length - 1));
    expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(content.length);
  });

  it('gives the ids of the whole, piece by piece, in every tokenizer that promises so', async (context) => {
    const vocabFile = sharedData(context, 'bert-vocab/bert-base-uncased-vocab.txt');
    const tokenizers = [
      createTokenizer({ type: 'GPT2BPETokenizer' }),
      createTokenizer({ type: 'ByteLevel' }),
      createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile }),
    ];
    expect(tokenizers.every((tokenizer) => tokenizer.encodesInPieces)).toBe(true);
    const parts = fc.constantFrom(
      ...[
        'a',
        'The',
        "'s",
        "'",
        ' ',
        '  ',
        '\n',
        '\r\n',
        '\t',
        '\u00a0',
        '\u0085',
        '\u2003',
        '\u2028',
        '\u3000',
        '\u200b',
        '\ufeff',
        '\u000b',
        '\u007f',
      ],
      ...[
        'é',
        'e\u0301',
        '\u0301',
        'Σ',
        '中',
        '한',
        '😀',
        '1',
        '½',
        '!',
        '…',
        '\0',
        '\ufffd',
        '\u202f',
        '\u1680',
        '\u205f',
      ],
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(parts, { maxLength: 120 }),
        fc.integer({ min: 16, max: 80 }),
        async (list, blockBytes) => {
          // A byte order mark at the start of a file is no text.
          const content = `x${list.join('')}`;
          const pieces = await all(file('pieces.txt', content), { blockBytes });
          expect(pieces.flatMap((piece) => piece.texts).join('')).toBe(content);
          for (const tokenizer of tokenizers)
            expect(pieces.flatMap((piece) => [...tokenizer.encode(piece.texts[0] ?? '')])).toEqual([
              ...tokenizer.encode(content),
            ]);
        },
      ),
      { numRuns: 400, seed: 2 },
    );
  });

  it('keeps count of lines', async () => {
    const content = Array.from({ length: 200 }, (_, index) => `line ${index + 1}`).join('\n');
    let before = '';
    for (const piece of await all(file('lines.txt', content), { blockBytes: 64 })) {
      expect(piece.lineNumber).toBe(before.split('\n').length);
      before += piece.texts.join('');
    }
    expect(before).toBe(content);
  });

  it('names the line of invalid UTF-8, or puts U+FFFD there', async () => {
    const path = file(
      'bad.txt',
      Buffer.concat([Buffer.from('one\ntwo '), Buffer.of(0xff), Buffer.from(' two\nthree')]),
    );
    expect((await failure(path)).message).toMatch(/bad\.txt:2: invalid UTF-8/);
    const invalid: InvalidDocument[] = [];
    const pieces = await all(path, { skipInvalid: true, onInvalid: (one) => invalid.push(one) });
    expect(pieces.map((piece) => piece.texts[0]).join('')).toBe('one\ntwo \ufffd two\nthree');
    expect(invalid.map((one) => one.lineNumber)).toEqual([2]);
  });

  it('refuses a stretch without white space over the limit', async () => {
    const path = file('run.txt', `a b\n${'x'.repeat(5000)}`);
    expect((await failure(path, { blockBytes: 64, maximumBlockBytes: 1000 })).message).toMatch(
      /run\.txt:2: a stretch of text without white space/,
    );
  });

  it('leaves out the byte order mark, and holds no document where it is empty', async () => {
    expect((await all(file('mark.txt', '\ufefftext')))[0]).toMatchObject({ texts: ['text'], bytes: 7 });
    for (const content of ['', '\ufeff']) expect(await all(file('empty.txt', content))).toEqual([]);
  });
});
