/** Text files read in blocks of every size: nothing lost, nothing joined, every fault named by file and line. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import { DataError, MegatronError, UsageError } from '../../base/errors.ts';
import { createTokenizer } from '../tokenizers/create-tokenizer.ts';
import { readBlocks } from './blocks.ts';
import type { DocumentPiece, InvalidDocument, ReadOptions } from './documents.ts';
import { readDocuments, readTexts } from './read.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'text-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function all(path: string, options: ReadOptions = {}): Promise<DocumentPiece[]> {
  const pieces: DocumentPiece[] = [];
  for await (const piece of readDocuments(path, options)) pieces.push(piece);
  return pieces;
}

async function failure(path: string, options: ReadOptions = {}): Promise<MegatronError> {
  const error: unknown = await all(path, options).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(MegatronError);
  const failed = error as MegatronError;
  expect(failed.remedy).toBeTruthy();
  return failed;
}

describe('JSON lines', () => {
  it('are the documents that were written, whatever the size of a block', async () => {
    const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 80 }), { maxLength: 12 });
    const layout = fc.record({
      lineEnd: fc.constantFrom('\n', '\r\n', '\n\n', '\n \t\n'),
      closed: fc.boolean(),
      mark: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        texts,
        layout,
        fc.integer({ min: 1, max: 400 }),
        async (documents, { lineEnd, closed, mark }, blockBytes) => {
          const lines = documents.map((text) => JSON.stringify({ id: 1, text }));
          const content = Buffer.from(
            (mark ? '\ufeff' : '') + lines.join(lineEnd) + (closed && lines.length > 0 ? '\n' : ''),
          );
          const path = file('random.jsonl', content);
          const pieces = await all(path, { blockBytes });
          expect(pieces.map((piece) => piece.texts)).toEqual(documents.map((text) => [text]));
          expect(pieces.every((piece) => piece.endsDocument)).toBe(true);
          const step = lineEnd.split('\n').length - 1;
          expect(pieces.map((piece) => piece.lineNumber)).toEqual(documents.map((_, index) => 1 + step * index));
          if (documents.length > 0) expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(content.length);
        },
      ),
      { numRuns: 300, seed: 1 },
    );
  });

  it('give the texts under several keys, in their order', async () => {
    const path = file('keys.jsonl', '{"title":"t","text":"x"}\n{"text":"y","title":"u","n":1}\n');
    expect((await all(path, { jsonKeys: ['text', 'title'] })).map((piece) => piece.texts)).toEqual([
      ['x', 't'],
      ['y', 'u'],
    ]);
  });

  it('may also be named .json or .ndjson, or said to be so', async () => {
    for (const name of ['a.json', 'a.ndjson', 'a.JSONL'])
      expect((await all(file(name, '{"text":"x"}'))).length).toBe(1);
    expect((await all(file('a.txt', '{"text":"x"}'), { format: 'jsonl' }))[0]?.texts).toEqual(['x']);
    expect((await all(file('a.jsonl', '{"text":"x"}'), { format: 'text' }))[0]?.texts).toEqual(['{"text":"x"}']);
  });

  const good = '{"text":"good"}\n';
  const faults: readonly (readonly [what: string, line: string | Uint8Array, message: RegExp, remedy: RegExp])[] = [
    ['cut off', '{"text":"a', /not JSON: .*/, /one whole JSON object a line.*--skip-invalid/],
    ['a number', '7', /expected a JSON object, found a number/, /\{"text": "…"\}.*--skip-invalid/],
    ['an array', '["a"]', /found an array/, /--skip-invalid/],
    ['null', 'null', /found null/, /--skip-invalid/],
    [
      'without the key',
      '{"body":"a","title":"b"}',
      /no key "text" \(it has "body", "title"\)/,
      /--json-keys.*--skip-invalid/,
    ],
    ['empty', '{}', /no key "text" \(the object is empty\)/, /--json-keys/],
    ['with a key that is only inherited', '{"__proto__":{"text":"x"}}', /no key "text"/, /--json-keys/],
    ['with a number as its text', '{"text":7}', /the value of "text" is a number, not a string/, /--skip-invalid/],
    ['with null as its text', '{"text":null}', /the value of "text" is null/, /--skip-invalid/],
    [
      'with invalid UTF-8',
      Buffer.concat([Buffer.from('{"text":"'), Buffer.of(0xc3, 0x28), Buffer.from('"}')]),
      /invalid UTF-8/,
      /--skip-invalid/,
    ],
  ];
  it.each(faults)('%s: named by file and line, or passed over and counted', async (_, line, message, remedy) => {
    const path = file(
      'fault.jsonl',
      Buffer.concat([Buffer.from(good + good), Buffer.from(line), Buffer.from(`\n${good}`)]),
    );
    const failed = await failure(path);
    expect(failed).toBeInstanceOf(DataError);
    expect(failed.message).toMatch(/fault\.jsonl:3: /);
    expect(failed.message).toMatch(message);
    expect(failed.remedy).toMatch(remedy);

    const invalid: InvalidDocument[] = [];
    const pieces = await all(path, { skipInvalid: true, onInvalid: (one) => invalid.push(one) });
    expect(pieces.map((piece) => piece.lineNumber)).toEqual([1, 2, 4]);
    expect(invalid).toEqual([{ path, lineNumber: 3, reason: expect.stringMatching(message) }]);
    expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(readFileSync(path).length);
  });

  it('longer than the limit are named, or passed over without being held', async () => {
    const long = JSON.stringify({ text: 'x'.repeat(5000) });
    for (const [content, lineNumber, rest] of [
      [`${good}${long}\n${good}`, 2, [1, 3]],
      [`${long}\n${good}${good}`, 1, [2, 3]],
      [`${good}${good}${long}`, 3, [1, 2]],
    ] as const) {
      const path = file('long.jsonl', content);
      const limits = { blockBytes: 64, maximumBlockBytes: 1000 };
      expect((await failure(path, limits)).message).toMatch(
        new RegExp(`long\\.jsonl:${lineNumber}: the line is longer than 1000 bytes`),
      );
      const invalid: InvalidDocument[] = [];
      const pieces = await all(path, { ...limits, skipInvalid: true, onInvalid: (one) => invalid.push(one) });
      expect(pieces.map((piece) => piece.lineNumber)).toEqual(rest);
      expect(invalid).toEqual([{ path, lineNumber, reason: 'longer than 1000 bytes' }]);
      expect((await all(path, { blockBytes: 64 })).length).toBe(3);
    }
  });
});

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
    for (const piece of await all(file('lines.txt', content), { blockBytes: 64 })) {
      const first = /line (\d+)/.exec(piece.texts[0] ?? '')?.[1];
      const startsInLine = (piece.texts[0] ?? '').startsWith('line') || (piece.texts[0] ?? '').startsWith('\n');
      if (first !== undefined && startsInLine)
        expect(piece.lineNumber).toBe(Number(first) - ((piece.texts[0] ?? '').startsWith('\n') ? 1 : 0));
    }
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

describe('files', () => {
  it('that are missing, folders or compressed are refused', async () => {
    expect((await failure(join(folder, 'missing.txt'))).message).toMatch(/cannot read .*missing\.txt/);
    expect((await failure(folder)).message).toMatch(/cannot read/);
    const compressed = await failure(file('a.jsonl.gz', ''));
    expect(compressed).toBeInstanceOf(UsageError);
    expect(compressed.message).toMatch(/compressed/);
  });

  it('give blocks that own their memory, in bounded size', async () => {
    const path = file('blocks.jsonl', `${JSON.stringify({ text: 'x'.repeat(90) })}\n`.repeat(500));
    let consumed = 0;
    let offset = 0;
    for await (const block of readBlocks(path, { blockBytes: 1024 })) {
      expect(block.bytes.buffer.byteLength).toBeLessThanOrEqual(2048);
      expect(block.offset).toBe(offset);
      offset += block.bytes.length;
      consumed += block.consumedBytes;
      // As a worker that was given the block: the reader must not need it any more.
      structuredClone(block.bytes, { transfer: [block.bytes.buffer] });
    }
    expect(consumed).toBe(readFileSync(path).length);
  });

  it('are read one after the other for training', async () => {
    const paths = [file('one.jsonl', '{"text":"a"}\n{"text":"b"}\n'), file('two.txt', 'c d')];
    const texts: string[] = [];
    let bytes = 0;
    for await (const text of readTexts(paths, { onBytes: (more) => (bytes += more) })) texts.push(text);
    expect(texts).toEqual(['a', 'b', 'c d']);
    expect(bytes).toBe(29);
  });

  it('hold 1,000 documents of OpenWebText', async (context) => {
    const path = sharedData(context, 'openwebtext-1000/openwebtext-1000.jsonl');
    const expected = readFileSync(path, 'utf8').trimEnd().split('\n');
    const pieces = await all(path);
    expect(pieces.length).toBe(1000);
    expect(
      pieces.every((piece, index) => piece.texts[0] === (JSON.parse(expected[index] ?? '') as { text: string }).text),
    ).toBe(true);
  });
});
