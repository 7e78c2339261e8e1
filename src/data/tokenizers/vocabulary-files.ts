/** Reading the small files that hold a vocabulary, with messages that name file and line. */

import { readFileSync } from 'node:fs';
import { DataError, messageOf } from '../../base/errors.ts';
import { fileError } from '../../base/files.ts';

/** A whole UTF-8 file. @throws DataError where it is missing, unreadable or not UTF-8. */
export function readTextFile(path: string, what: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const cause = fileError(`cannot read ${what}, ${path}`, error);
    throw new DataError(cause.message, {
      cause: error,
      ...(cause.remedy === undefined ? {} : { remedy: cause.remedy }),
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new DataError(`${path} is not UTF-8 text`, {
      cause: error,
      remedy: 'Check that this is the right file and that it is whole.',
    });
  }
}

/** Lines without their ends (LF or CRLF); the empty one after the last line end is left out. */
export function linesOf(text: string): string[] {
  const lines = text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** The value in a JSON file. @throws DataError where it is no JSON. */
export function parseJsonFile(path: string): unknown {
  const text = readTextFile(path, 'the vocabulary');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path} is not JSON: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Check that this is the vocabulary (and not the merges), and that the file is whole.',
    });
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Turns `{"token": id}` round: token by id, undefined where an id is not used.
 *
 * @throws DataError where an id is no whole number, is given twice, or lies far beyond the number of tokens.
 */
export function tokensById(vocabulary: unknown, path: string): (string | undefined)[] {
  const remedy = 'A vocabulary is one JSON object, {"token": id, …}, with ids from 0.';
  if (!isRecord(vocabulary)) throw new DataError(`${path} holds no vocabulary`, { remedy });
  const entries = Object.entries(vocabulary);
  if (entries.length === 0) throw new DataError(`${path} is an empty vocabulary`, { remedy });
  let vocabSize = 0;
  for (const [token, id] of entries) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0)
      throw new DataError(`${path}: the id of ${JSON.stringify(token)} is ${JSON.stringify(id)}`, { remedy });
    vocabSize = Math.max(vocabSize, id + 1);
  }
  // A few unused ids are usual; a vocabulary that is mostly holes is a damaged one, and would only cost memory.
  if (vocabSize > 2 * entries.length + 1024)
    throw new DataError(`${path}: ids reach ${vocabSize - 1}, but there are only ${entries.length} tokens`, { remedy });
  const tokens = new Array<string | undefined>(vocabSize).fill(undefined);
  for (const [token, id] of entries) {
    const other = tokens[id as number];
    if (other !== undefined)
      throw new DataError(`${path}: ${JSON.stringify(other)} and ${JSON.stringify(token)} have the same id ${id}`, {
        remedy,
      });
    tokens[id as number] = token;
  }
  return tokens;
}
