/** GPT-2's byte-level BPE (Radford et al. 2019), fast: a scanner, a memory of pre-tokens, and merges by table. */

import { DataError } from '../../base/errors.ts';
import { byteCharacters, bytesOfPrintable, characterBytes } from './byte-alphabet.ts';
import { createCharacterClasses } from './character-classes.ts';
import { tokenizerIdentity } from './identity.ts';
import { addMerge, createMergeTable, type MergeTable } from './merge-table.ts';
import { createMerger } from './merger.ts';
import { preTokenEnd } from './pre-tokens.ts';
import { createSpanCache, hashSpan, longestCachedSpan } from './span-cache.ts';
import { createTokenBytes } from './token-bytes.ts';
import type { Tokenizer, TokenizerType } from './tokenizer.ts';
import { writeUtf8 } from './utf8.ts';

/** A byte-level BPE vocabulary, tokens written in GPT-2's printable alphabet. */
export interface BpeVocabulary {
  /** Token by id; undefined where an id is not used. */
  readonly tokens: readonly (string | undefined)[];
  /** Ids of the two parts of each merge, best first. */
  readonly merges: readonly (readonly [left: number, right: number, merged: number])[];
  /** Where it was read from, for messages. */
  readonly source: string;
}

export const endOfText = '<|endoftext|>';

/**
 * A tokenizer over `vocabulary`. Encoding is deterministic for every JavaScript string; lone surrogates count as U+FFFD.
 *
 * @throws DataError where one of the 256 bytes has no token, for then some text could not be encoded.
 */
export function createByteLevelBpe(type: TokenizerType, vocabulary: BpeVocabulary): Tokenizer {
  const { tokens } = vocabulary;
  const byteIds = idsOfBytes(vocabulary);
  const encodeInto = createEncoder(byteIds, mergeTableOf(vocabulary));
  const token = createTokenBytes(bytesOfTokens(vocabulary));
  const endOfDocument = tokens.indexOf(endOfText);

  return {
    type,
    vocabSize: tokens.length,
    endOfDocument: endOfDocument < 0 ? undefined : endOfDocument,
    identity: identityOf(vocabulary),
    encodesInPieces: true,
    encode: encodeInto,
    decode: (ids) => token.textOf(ids),
    decodeBytes: (id) => token.bytesOf(id),
  };
}

function mergeTableOf({ merges }: BpeVocabulary): MergeTable {
  const table = createMergeTable(merges.length);
  for (let rank = 0; rank < merges.length; rank++) {
    const [left, right, merged] = merges[rank] as readonly [number, number, number];
    addMerge(table, left, right, rank, merged);
  }
  return table;
}

function idsOfBytes({ tokens, source }: BpeVocabulary): Int32Array {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const missing: number[] = [];
  const result = Int32Array.from(byteCharacters(), (character, byte) => {
    const id = ids.get(character);
    if (id === undefined) missing.push(byte);
    return id ?? -1;
  });
  if (missing.length > 0) {
    throw new DataError(
      `${source} has no token for ${missing.length} of the 256 bytes (the first is 0x${hexOf(missing[0])})`,
      {
        remedy:
          'A byte-level BPE vocabulary needs all 256: check that this is a GPT-2 vocabulary and that the file is whole.',
      },
    );
  }
  return result;
}

function hexOf(byte: number | undefined): string {
  return (byte ?? 0).toString(16).padStart(2, '0');
}

/** Tokens that merges build, and single bytes, are written in the printable alphabet; the others (special tokens) stand for their own text. */
function bytesOfTokens({ tokens, merges }: BpeVocabulary): (Uint8Array | undefined)[] {
  const bytes = characterBytes();
  const built = new Uint8Array(tokens.length);
  for (const [, , merged] of merges) built[merged] = 1;
  const utf8 = new TextEncoder();
  return tokens.map((token, id) => {
    if (token === undefined) return undefined;
    const printable = built[id] === 1 || token.length === 1 ? bytesOfPrintable(token, bytes) : undefined;
    return printable ?? utf8.encode(token);
  });
}

function identityOf({ tokens, merges }: BpeVocabulary): string {
  const pairs = new Int32Array(2 * merges.length);
  for (let rank = 0; rank < merges.length; rank++) {
    const [left, right] = merges[rank] as readonly [number, number, number];
    pairs[2 * rank] = left;
    pairs[2 * rank + 1] = right;
  }
  return tokenizerIdentity('byte-level BPE, GPT-2 pre-tokens', [JSON.stringify(tokens), new Uint8Array(pairs.buffer)]);
}

/** Ids kept between calls beyond this many are given back. */
const keptIds = 1 << 20;

/** The encoder proper, with its scratch memory. */
function createEncoder(byteIds: Int32Array, table: MergeTable): (text: string) => Int32Array {
  const classes = createCharacterClasses();
  const cache = createSpanCache();
  const merger = createMerger(table);
  const symbols = new Int32Array(3 * longestCachedSpan);
  let output = new Int32Array(4096);

  const reserve = (room: number): void => {
    if (room <= output.length) return;
    const larger = new Int32Array(Math.max(room, 2 * output.length));
    larger.set(output);
    output = larger;
  };

  return (text) => {
    const length = text.length;
    let count = 0;
    for (let start = 0; start < length; ) {
      const end = preTokenEnd(text, start, classes);
      const units = end - start;
      if (units > longestCachedSpan) {
        const long = new Int32Array(3 * units);
        const merged = merger.merge(long, writeUtf8(text, start, end, byteIds, long, 0));
        reserve(count + merged);
        output.set(long.subarray(0, merged), count);
        count += merged;
      } else {
        reserve(count + 3 * longestCachedSpan);
        const hash = hashSpan(text, start, end);
        const entry = cache.find(text, start, end, hash);
        if (entry >= 0) {
          const first = cache.idStart[entry] as number;
          const last = first + (cache.idCount[entry] as number);
          for (let index = first; index < last; index++) output[count++] = cache.ids[index] as number;
        } else {
          const merged = merger.merge(symbols, writeUtf8(text, start, end, byteIds, symbols, 0));
          cache.add(text, start, end, hash, symbols, merged);
          for (let index = 0; index < merged; index++) output[count++] = symbols[index] as number;
        }
      }
      start = end;
    }
    const ids = output.slice(0, count);
    if (output.length > keptIds) output = new Int32Array(4096);
    return ids;
  };
}
