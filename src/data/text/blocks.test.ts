/** Files as blocks and as streams of text: owned memory, bounded size, and names that cannot be read. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import {
  allPieces as all,
  readFailure as failure,
  temporaryFiles,
} from '../../../test/fixtures/tokenizers/text-files.ts';
import { UsageError } from '../../base/errors.ts';
import { readBlocks } from './blocks.ts';
import { readTexts } from './read.ts';

const { file, folder } = temporaryFiles();

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
