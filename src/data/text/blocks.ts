/** Cuts a text file into blocks that any thread can parse by itself: one pass, bounded memory. */

import { open } from 'node:fs/promises';
import { DataError } from '../../base/errors.ts';
import { fileError } from '../../base/files.ts';
import type { BlockOptions, InvalidDocument, TextBlock } from './documents.ts';
import { textFormatOf } from './format.ts';

const defaultBlockBytes = 1 << 20;
/** Also keeps every line below the longest string that JavaScript can hold. */
const mostBlockBytes = 256 << 20;
/** Room for a byte order mark. */
const smallestBlockBytes = 16;
const lineFeed = 0x0a;

/**
 * Blocks of the file in order. Memory is one block, or the longest line where that is longer.
 *
 * A byte order mark at the start is left out. Pipes are read too (`fileBytes` is 0 then).
 *
 * @throws DataError naming file and line for a JSON line, or a stretch of plain text without white space, over `maximumBlockBytes`.
 * @throws MegatronError where the file is missing or unreadable.
 */
export async function* readBlocks(path: string, options: BlockOptions = {}): AsyncGenerator<TextBlock, void> {
  const format = options.format === undefined || options.format === 'auto' ? textFormatOf(path) : options.format;
  const maximum = Math.max(smallestBlockBytes, Math.min(options.maximumBlockBytes ?? mostBlockBytes, mostBlockBytes));
  const blockBytes = Math.max(smallestBlockBytes, Math.min(options.blockBytes ?? defaultBlockBytes, maximum));
  const cutOf = format === 'jsonl' ? lastLineEnd : lastWordEnd;

  const handle = await open(path, 'r').catch((error: unknown) => {
    throw fileError(`cannot read ${path}`, error);
  });
  try {
    const fileBytes = (await handle.stat()).size;
    let held = new Uint8Array(blockBytes);
    let filled = 0;
    let searched = 0;
    let offset = 0;
    let line = 1;
    let consumed = 0;
    let skipping = false;
    let skipped: InvalidDocument[] = [];

    const block = (length: number, endsDocument: boolean): TextBlock => {
      const bytes = held.subarray(0, length);
      const result = {
        path,
        format,
        bytes,
        offset,
        firstLine: line,
        fileBytes,
        consumedBytes: consumed + length,
        endsDocument,
        skippedLines: skipped,
      };
      offset += length;
      line += countLineFeeds(bytes);
      consumed = 0;
      skipped = [];
      return result;
    };
    /** Begins the next block with what was read beyond this one. */
    const carryOver = (from: number, size: number): void => {
      const next = new Uint8Array(Math.max(size, filled - from));
      next.set(held.subarray(from, filled));
      held = next;
      filled -= from;
      searched = 0;
    };

    for (;;) {
      const { bytesRead } = await handle.read(held, filled, held.length - filled, null).catch((error: unknown) => {
        throw fileError(`cannot read ${path}`, error);
      });
      const atStart = offset === 0 && filled < 3;
      filled += bytesRead;
      if (atStart && filled >= 3 && held[0] === 0xef && held[1] === 0xbb && held[2] === 0xbf) {
        offset = consumed = 3;
        carryOver(3, held.length);
      }
      if (bytesRead === 0) break;

      if (skipping) {
        const end = held.subarray(0, filled).indexOf(lineFeed);
        const gone = end < 0 ? filled : end + 1;
        consumed += gone;
        offset += gone;
        carryOver(gone, blockBytes);
        if (end < 0) continue;
        line++;
        skipping = false;
      }
      if (filled < held.length) continue;

      const cut = cutOf(held, searched, filled);
      if (cut > 0) {
        const whole = block(cut, format === 'jsonl');
        // Room to read on in any case: a read of nothing would look like the end of the file.
        carryOver(cut, filled - cut < blockBytes ? blockBytes : filled - cut + blockBytes);
        yield whole;
        continue;
      }
      searched = filled;
      if (filled < maximum) {
        const larger = new Uint8Array(Math.min(2 * filled, maximum));
        larger.set(held);
        held = larger;
        continue;
      }
      const reason = `longer than ${maximum} bytes`;
      if (format === 'text') throw tooLong(path, format, line + countLineFeeds(held), reason);
      if (options.skipInvalid !== true) throw tooLong(path, format, line, reason);
      skipped.push({ path, lineNumber: line, reason });
      skipping = true;
      consumed += filled;
      offset += filled;
      carryOver(filled, blockBytes);
    }
    if (filled > 0 || consumed > 0 || skipped.length > 0) yield block(filled, true);
  } finally {
    await handle.close();
  }
}

function tooLong(path: string, format: 'jsonl' | 'text', line: number, reason: string): DataError {
  return format === 'jsonl'
    ? new DataError(`${path}:${line}: the line is ${reason}`, {
        remedy: 'Split the document into several lines, or pass --skip-invalid to leave such lines out and count them.',
      })
    : new DataError(`${path}:${line}: a stretch of text without white space is ${reason}`, {
        remedy: 'Check that this is a text file; if it holds one JSON object a line, name it .jsonl.',
      });
}

/** Offset after the last line feed, or 0; `searched` bytes are known to hold none. */
function lastLineEnd(bytes: Uint8Array, searched: number, filled: number): number {
  const at = bytes.subarray(searched, filled).lastIndexOf(lineFeed);
  return at < 0 ? 0 : searched + at + 1;
}

/** Offset of the last ASCII white space that follows a visible character, or 0: no pre-token of ours spans that place. */
function lastWordEnd(bytes: Uint8Array, searched: number, filled: number): number {
  for (let at = filled - 1; at >= Math.max(1, searched); at--) {
    const byte = bytes[at] as number;
    if ((byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) && endsVisible(bytes, at)) return at;
  }
  return 0;
}

/** True where the character that ends before `end` is not white space (any of Unicode's; see the White_Space property). */
function endsVisible(bytes: Uint8Array, end: number): boolean {
  const last = bytes[end - 1] as number;
  if (last < 0x80) return last > 0x20 && last !== 0x7f;
  const middle = end >= 2 ? (bytes[end - 2] as number) : 0;
  if (middle === 0xc2) return last !== 0x85 && last !== 0xa0;
  const first = end >= 3 ? (bytes[end - 3] as number) : 0;
  if (first === 0xe1) return !(middle === 0x9a && last === 0x80);
  if (first === 0xe2 && middle === 0x80) return !(last <= 0x8a || last === 0xa8 || last === 0xa9 || last === 0xaf);
  if (first === 0xe2 && middle === 0x81) return last !== 0x9f;
  if (first === 0xe3) return !(middle === 0x80 && last === 0x80);
  return true;
}

function countLineFeeds(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, at + 1)) count++;
  return count;
}
