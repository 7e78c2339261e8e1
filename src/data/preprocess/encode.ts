/** From blocks of text to token ids as they are stored; runs on any thread. */

import { DataError } from '../../base/errors.ts';
import { optimalDtype } from '../indexed-dataset/format.ts';
import type { StoredTokens } from '../indexed-dataset/writer.ts';
import type { InvalidDocument, TextBlock } from '../text/documents.ts';
import { documentsIn } from '../text/parse.ts';
import type { Tokenizer } from '../tokenizers/tokenizer.ts';

export interface EncodeOptions {
  readonly jsonKeys: readonly string[];
  readonly skipInvalid: boolean;
}

/** What one thread encodes at a time; plain data, its buffers can be transferred. */
export interface EncodeJob {
  /** One block, or all blocks of one document where the tokenizer must see it whole. */
  readonly blocks: readonly TextBlock[];
}

/** The documents of one key. */
export interface EncodedKey {
  /** Ids of all documents, one after another. */
  readonly tokens: StoredTokens;
  /** Tokens of each document, or piece of one, `[documents]`. */
  readonly lengths: Int32Array;
}

export interface EncodedJob {
  /** One for each of the JSON keys. */
  readonly keys: readonly EncodedKey[];
  /** False where the last document goes on in the next job. */
  readonly endsDocument: boolean;
  /** Bytes of input that this job stands for. */
  readonly consumedBytes: number;
  readonly invalid: readonly InvalidDocument[];
}

/**
 * @throws DataError naming file and line, for input that cannot be used.
 */
export function encodeJob(tokenizer: Tokenizer, options: EncodeOptions, job: EncodeJob): EncodedJob {
  const collectors = options.jsonKeys.map(() => createCollector(tokenizer));
  const invalid: InvalidDocument[] = [];
  const whole = tokenizer.encodesInPieces !== true;
  /** Pieces of a document that must be encoded in one call. */
  let held: string[] = [];
  let consumedBytes = 0;
  let endsDocument = true;
  for (const block of job.blocks) {
    consumedBytes += block.consumedBytes;
    endsDocument = block.endsDocument;
    const parse = { ...options, onInvalid: (found: InvalidDocument) => invalid.push(found) };
    for (const piece of documentsIn(block, parse)) {
      if (whole && (!piece.endsDocument || held.length > 0)) {
        // Only plain text comes in pieces, and it has one text.
        held.push(piece.texts[0] ?? '');
        if (!piece.endsDocument) continue;
        collectors[0]?.add(joined(held, block));
        held = [];
        continue;
      }
      for (const [key, collector] of collectors.entries()) collector.add(piece.texts[key] ?? '');
    }
  }
  return { keys: collectors.map((collector) => collector.take()), endsDocument, consumedBytes, invalid };
}

function joined(pieces: readonly string[], block: TextBlock): string {
  try {
    return pieces.join('');
  } catch (error) {
    throw new DataError(`${block.path} is too long to be one document for this tokenizer`, {
      cause: error,
      remedy: 'Split it into documents (JSONL with one document a line), or use a byte-level BPE tokenizer.',
    });
  }
}

/** Grows one array of ids, in the width in which they are stored. */
function createCollector(tokenizer: Tokenizer): { add(text: string): void; take(): EncodedKey } {
  const narrow = optimalDtype(tokenizer.vocabSize) === 'uint16';
  let tokens: StoredTokens = narrow ? new Uint16Array(1 << 16) : new Int32Array(1 << 16);
  let used = 0;
  const lengths: number[] = [];
  return {
    add(text) {
      const ids = tokenizer.encode(text);
      if (used + ids.length > tokens.length) {
        const size = Math.max(2 * tokens.length, used + ids.length);
        const larger = narrow ? new Uint16Array(size) : new Int32Array(size);
        larger.set(tokens.subarray(0, used));
        tokens = larger;
      }
      tokens.set(ids, used);
      used += ids.length;
      lengths.push(ids.length);
    },
    take: () => ({ tokens: tokens.slice(0, used), lengths: Int32Array.from(lengths) }),
  };
}
