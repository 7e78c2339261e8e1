/** The documents inside a block: JSON lines or plain text, checked as they are read. */

import { isUtf8 } from 'node:buffer';
import { DataError, messageOf } from '../../base/errors.ts';
import type { DocumentPiece, ParseOptions, TextBlock } from './documents.ts';

const skipRemedy = 'pass --skip-invalid to leave such lines out and count them.';

/**
 * Pieces of documents in `block`, in order. Blank lines are passed over.
 *
 * @returns (at the end) the bytes of the block that came after its last document.
 * @throws DataError naming file and line for invalid UTF-8, a line that is no JSON object, a missing key or a value that is no string, unless
 *   `skipInvalid` is set.
 */
export function* documentsIn(block: TextBlock, options: ParseOptions = {}): Generator<DocumentPiece, number> {
  for (const invalid of block.skippedLines) options.onInvalid?.(invalid);
  return block.format === 'jsonl' ? yield* jsonLines(block, options) : yield* plainText(block, options);
}

function* jsonLines(block: TextBlock, options: ParseOptions): Generator<DocumentPiece, number> {
  const bytes = Buffer.from(block.bytes.buffer, block.bytes.byteOffset, block.bytes.byteLength);
  const keys = options.jsonKeys ?? ['text'];
  const validBlock = isUtf8(bytes);
  let lineNumber = block.firstLine;
  let accounted = block.bytes.length - block.consumedBytes;
  for (let start = 0; start < bytes.length; lineNumber++) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed;
    const next = feed < 0 ? bytes.length : feed + 1;
    const line = bytes.subarray(start, end);
    start = next;
    if (isBlank(line)) continue;
    const texts =
      validBlock || isUtf8(line) ? textsOf(line.toString(), keys) : { problem: 'invalid UTF-8', remedy: '' };
    if (!('problem' in texts)) {
      yield { texts, endsDocument: true, lineNumber, bytes: next - accounted };
      accounted = next;
    } else if (options.skipInvalid === true) {
      options.onInvalid?.({ path: block.path, lineNumber, reason: texts.problem });
    } else {
      const advice = texts.remedy === '' ? 'Correct the line' : texts.remedy;
      throw new DataError(`${block.path}:${lineNumber}: ${texts.problem}`, { remedy: `${advice}, or ${skipRemedy}` });
    }
  }
  return bytes.length - accounted;
}

function isBlank(line: Uint8Array): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  return true;
}

interface Problem {
  readonly problem: string;
  /** What to do besides skipping the line; empty for the usual. */
  readonly remedy: string;
}

/** Strings under `keys` of the JSON object in `line`, or what is wrong with it. */
function textsOf(line: string, keys: readonly string[]): readonly string[] | Problem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return {
      problem: `not JSON: ${messageOf(error)}`,
      remedy: 'Correct the line (the file must hold one whole JSON object a line)',
    };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {
      problem: `expected a JSON object, found ${kindOf(value)}`,
      remedy: 'Write one object a line, such as {"text": "…"}',
    };
  }
  const object = value as Record<string, unknown>;
  const texts: string[] = [];
  for (const key of keys) {
    const text = Object.hasOwn(object, key) ? object[key] : undefined;
    if (typeof text === 'string') {
      texts.push(text);
      continue;
    }
    if (text !== undefined)
      return { problem: `the value of ${JSON.stringify(key)} is ${kindOf(text)}, not a string`, remedy: '' };
    const present = Object.keys(object).slice(0, 8);
    const found =
      present.length === 0 ? 'the object is empty' : `it has ${present.map((name) => JSON.stringify(name)).join(', ')}`;
    return {
      problem: `no key ${JSON.stringify(key)} (${found})`,
      remedy: 'Name the key that holds the text with --json-keys',
    };
  }
  return texts;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function* plainText(block: TextBlock, options: ParseOptions): Generator<DocumentPiece, number> {
  const bytes = Buffer.from(block.bytes.buffer, block.bytes.byteOffset, block.bytes.byteLength);
  if (bytes.length === 0) return block.consumedBytes;
  if (!isUtf8(bytes)) reportInvalidText(block, bytes, options);
  // `toString` puts U+FFFD for what is invalid, as the Encoding Standard has it.
  yield {
    texts: [bytes.toString()],
    endsDocument: block.endsDocument,
    lineNumber: block.firstLine,
    bytes: block.consumedBytes,
  };
  return 0;
}

function reportInvalidText(block: TextBlock, bytes: Buffer, options: ParseOptions): void {
  let lineNumber = block.firstLine;
  for (let start = 0; start < bytes.length; lineNumber++) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed < 0 ? bytes.length : feed + 1;
    if (!isUtf8(bytes.subarray(start, end))) {
      if (options.skipInvalid !== true) {
        throw new DataError(`${block.path}:${lineNumber}: invalid UTF-8`, {
          remedy: 'Convert the file to UTF-8, or pass --skip-invalid to put U+FFFD for what cannot be read.',
        });
      }
      options.onInvalid?.({ path: block.path, lineNumber, reason: 'invalid UTF-8, replaced by U+FFFD' });
    }
    start = end;
  }
}
