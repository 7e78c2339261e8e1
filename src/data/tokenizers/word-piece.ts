/** BERT's WordPiece (Devlin et al. 2018): words by `bert-words.ts`, then the longest piece of the vocabulary from the left. */

import { DataError } from '../../base/errors.ts';
import { splitWord, whitespaceWords } from './bert-words.ts';
import { tokenizerIdentity } from './identity.ts';
import { createTokenBytes } from './token-bytes.ts';
import type { Tokenizer } from './tokenizer.ts';
import { linesOf, readTextFile } from './vocabulary-files.ts';

/** Words with more characters become `[UNK]` whole. */
const longestWord = 200;
/** Words remembered with their ids; all are forgotten when there are more. */
const rememberedWords = 1 << 16;
/** Longer stretches between spaces are encoded but not remembered. */
const longestRemembered = 64;

/**
 * Reads `vocab.txt`, one token a line, the line number from 0 being its id.
 *
 * There is no end-of-document token: BERT separates by `[SEP]` inside a sample, and Megatron's own WordPiece tokenizer defines none either.
 *
 * @throws DataError where the file is missing or has no `[UNK]`, which unknown words need.
 */
export function createWordPiece(vocabFile: string): Tokenizer {
  const tokens = linesOf(readTextFile(vocabFile, 'the vocabulary')).map((line) => line.trim());
  // A word that stands twice has the id of its last line, as in the original's dictionary.
  const ids = new Map(tokens.map((token, id) => [token, id]));
  ids.delete('');
  const unknown = ids.get('[UNK]');
  if (unknown === undefined) {
    throw new DataError(`${vocabFile} has no token [UNK]`, {
      remedy: "BertWordPieceLowerCase reads BERT's vocab.txt: one token a line, [UNK] among them.",
    });
  }
  const longestPiece = tokens.reduce((longest, token) => Math.max(longest, token.length), 0);
  const remembered = new Map<string, Int32Array>();

  const idsOf = (word: string): Int32Array => {
    const known = remembered.get(word);
    if (known !== undefined) return known;
    const result = Int32Array.from(splitWord(word).flatMap((part) => piecesOf(part, ids, unknown, longestPiece)));
    if (word.length <= longestRemembered) {
      if (remembered.size >= rememberedWords) remembered.clear();
      remembered.set(word, result);
    }
    return result;
  };

  const utf8 = new TextEncoder();
  const token = createTokenBytes(tokens.map((text) => utf8.encode(text.startsWith('##') ? text.slice(2) : ` ${text}`)));
  return {
    type: 'BertWordPieceLowerCase',
    vocabSize: tokens.length,
    endOfDocument: undefined,
    identity: tokenizerIdentity('WordPiece, uncased BERT words', [JSON.stringify(tokens)]),
    encodesInPieces: true,
    encode(text) {
      const parts = whitespaceWords(text).map(idsOf);
      const result = new Int32Array(parts.reduce((length, part) => length + part.length, 0));
      let at = 0;
      for (const part of parts) {
        result.set(part, at);
        at += part.length;
      }
      return result;
    },
    // Words have a space before them, and the text none at its start; case, accents and the original spacing are gone for good.
    decode: (encoded) => token.textOf(encoded).replace(/^ /, ''),
    decodeBytes: (id) => token.bytesOf(id),
  };
}

/** Greedy longest match from the left; one part without a match makes the whole word unknown. */
function piecesOf(word: string, ids: ReadonlyMap<string, number>, unknown: number, longestPiece: number): number[] {
  // Characters are code points: a match never ends inside a surrogate pair, for no token does.
  if (word.length > longestWord && [...word].length > longestWord) return [unknown];
  const pieces: number[] = [];
  for (let start = 0; start < word.length; ) {
    let end = Math.min(word.length, start + longestPiece);
    let id: number | undefined;
    for (; end > start; end--) {
      id = ids.get(start === 0 ? word.slice(0, end) : `##${word.slice(start, end)}`);
      if (id !== undefined) break;
    }
    if (id === undefined) return [unknown];
    pieces.push(id);
    start = end;
  }
  return pieces;
}
