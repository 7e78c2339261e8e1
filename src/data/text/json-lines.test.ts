/** JSON lines read in blocks of every size: nothing lost, every fault named by file and line. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  allPieces as all,
  readFailure as failure,
  temporaryFiles,
} from '../../../test/fixtures/tokenizers/text-files.ts';
import { DataError } from '../../base/errors.ts';
import type { InvalidDocument } from './documents.ts';

const { file } = temporaryFiles();

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
