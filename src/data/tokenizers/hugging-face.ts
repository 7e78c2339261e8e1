/** Any Hugging Face `tokenizer.json`: our own encoder for the plain GPT-2 kind, `@huggingface/tokenizers` for every other. */

import { Tokenizer as HuggingFaceLibrary } from '@huggingface/tokenizers';
import { DataError, messageOf } from '../../base/errors.ts';
import { byteCharacters } from './byte-alphabet.ts';
import { type BpeVocabulary, createByteLevelBpe, endOfText } from './byte-level-bpe.ts';
import { resolveMerges } from './gpt2-files.ts';
import { decodedBytes } from './hugging-face-bytes.ts';
import { tokenizerIdentity } from './identity.ts';
import { unknownId } from './token-bytes.ts';
import type { Tokenizer } from './tokenizer.ts';
import { isRecord, parseJsonFile, tokensById } from './vocabulary-files.ts';

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** Names of an end-of-document token, the first that is there being taken. */
const endOfDocumentNames = [endOfText, '</s>', '<eos>'];

/**
 * Reads `tokenizer.json`. Text is encoded without a template (no `[CLS]` or `<s>` is put round it), and special tokens written in the text are
 * ordinary text.
 *
 * @throws DataError where the file is missing, malformed, or of a kind that neither encoder knows.
 */
export function createHuggingFace(path: string): Tokenizer {
  const parsed = parseJsonFile(path);
  if (!isRecord(parsed) || !isRecord(parsed.model)) {
    throw new DataError(`${path} is not a Hugging Face tokenizer: it has no "model"`, {
      remedy: 'HuggingFaceTokenizer reads tokenizer.json (not vocab.json or tokenizer_config.json).',
    });
  }
  const added = addedTokensOf(parsed.added_tokens, path);
  if (isPlainGpt2(parsed, added)) {
    const vocabulary = gpt2VocabularyOf(parsed.model, added, path);
    if (vocabulary !== undefined) return createByteLevelBpe('HuggingFaceTokenizer', vocabulary);
  }
  return createFromLibrary(parsed, added, path);
}

function addedTokensOf(value: unknown, path: string): AddedToken[] {
  if (value === undefined || value === null) return [];
  const remedy = 'Write the file again with the library that made it.';
  if (!Array.isArray(value)) throw new DataError(`${path}: "added_tokens" is not a list`, { remedy });
  return value.map((entry: unknown, index) => {
    if (
      !isRecord(entry) ||
      typeof entry.content !== 'string' ||
      !Number.isInteger(entry.id) ||
      (entry.id as number) < 0
    )
      throw new DataError(`${path}: entry ${index} of "added_tokens" has no id or content`, { remedy });
    return { id: entry.id as number, content: entry.content, special: entry.special === true };
  });
}

/** True where nothing but GPT-2's own pre-tokenizer and merges decides the ids. */
function isPlainGpt2(file: Record<string, unknown>, added: readonly AddedToken[]): boolean {
  const { model, normalizer, pre_tokenizer: preTokenizer } = file;
  if (!isRecord(model) || (normalizer !== null && normalizer !== undefined)) return false;
  if (!isRecord(preTokenizer) || preTokenizer.type !== 'ByteLevel') return false;
  if (preTokenizer.add_prefix_space !== false || preTokenizer.use_regex === false) return false;
  const isAbsent = (value: unknown): boolean =>
    value === undefined || value === null || value === false || value === '' || value === 0;
  return (
    (model.type === 'BPE' || (model.type === undefined && Array.isArray(model.merges))) &&
    [
      model.dropout,
      model.continuing_subword_prefix,
      model.end_of_word_suffix,
      model.byte_fallback,
      model.ignore_merges,
    ].every(isAbsent) &&
    added.every((token) => token.special)
  );
}

/** The vocabulary with its special tokens; undefined where bytes are missing, so that unknown text needs the library's rules. */
function gpt2VocabularyOf(
  model: Record<string, unknown>,
  added: readonly AddedToken[],
  path: string,
): BpeVocabulary | undefined {
  const tokens = tokensById(model.vocab, `${path}: "vocab"`);
  const inModel = new Set(tokens);
  for (const { id, content } of added) {
    if (tokens[id] !== undefined && tokens[id] !== content)
      throw new DataError(
        `${path}: the added token ${JSON.stringify(content)} has the id ${id} of ${JSON.stringify(tokens[id])}`,
        {
          remedy: 'Write the file again with the library that made it.',
        },
      );
    while (tokens.length < id) tokens.push(undefined);
    tokens[id] = content;
  }
  const merges = Array.isArray(model.merges) ? model.merges : [];
  const pairs = merges.map((merge: unknown, index): readonly [string, string] => {
    const parts: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [left, right] = parts;
    if (parts.length === 2 && typeof left === 'string' && typeof right === 'string') return [left, right];
    throw new DataError(`${path}: merge ${index} is not a pair of tokens`, {
      remedy: 'Write the file again with the library that made it.',
    });
  });
  const vocabulary = {
    tokens,
    merges: resolveMerges(tokens, pairs, (rank) => `${path}: merge ${rank}`, path),
    source: path,
  };
  return hasEveryByte(inModel) ? vocabulary : undefined;
}

function hasEveryByte(tokens: ReadonlySet<string | undefined>): boolean {
  return byteCharacters().every((character) => tokens.has(character));
}

function createFromLibrary(file: Record<string, unknown>, added: readonly AddedToken[], path: string): Tokenizer {
  // Special tokens are taken out of what the encoder looks for in the text; the decoder keeps them.
  const ordinary = Array.isArray(file.added_tokens)
    ? file.added_tokens.filter((_, index) => added[index]?.special !== true)
    : [];
  const kind = isRecord(file.model) ? file.model.type : undefined;
  // Files of the library's first years name no type; it tells them apart by their other keys.
  if (kind !== undefined && kind !== 'BPE' && kind !== 'WordPiece' && kind !== 'Unigram')
    throw unreadable(path, `its model is of type ${JSON.stringify(kind)}`);
  let encoder: HuggingFaceLibrary;
  let decoder: HuggingFaceLibrary;
  try {
    decoder = new HuggingFaceLibrary({ ...file, added_tokens: file.added_tokens ?? [] }, {});
    encoder = new HuggingFaceLibrary({ ...file, added_tokens: ordinary }, {});
  } catch (error) {
    throw unreadable(path, messageOf(error), error);
  }
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of decoder.get_vocab(true)) tokens[id] = token;
  for (const { id, content } of added) tokens[id] = content;
  const vocabSize = tokens.length;
  const specials = new Set(added.filter((token) => token.special).map((token) => token.id));
  const bytesOf = decodedBytes(file.decoder);
  const check = (id: number): string => {
    const token = tokens[id];
    if (token === undefined) throw unknownId(id, vocabSize);
    return token;
  };
  return {
    type: 'HuggingFaceTokenizer',
    vocabSize,
    endOfDocument: endOfDocumentNames.map((name) => tokens.indexOf(name)).find((id) => id >= 0),
    identity: tokenizerIdentity('Hugging Face tokenizer.json', [
      JSON.stringify([file.normalizer, file.pre_tokenizer, file.model, file.added_tokens]),
    ]),
    encodesInPieces: false,
    encode(text) {
      try {
        return Int32Array.from(encoder.encode(text.toWellFormed(), { add_special_tokens: false }).ids);
      } catch (error) {
        // The library passes the tokens of one pre-token as arguments of a call: some 100,000 are more than the stack holds.
        throw new DataError(`${path}: a text of ${text.length} characters cannot be encoded: ${messageOf(error)}`, {
          cause: error,
          remedy: 'Split long documents: this kind of tokenizer takes about 100,000 characters at once.',
        });
      }
    },
    decode(ids) {
      const list = Array.from(ids);
      list.forEach(check);
      return list.length === 0
        ? ''
        : decoder.decode(list, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    },
    decodeBytes: (id) => bytesOf(check(id), specials.has(id)),
  };
}

function unreadable(path: string, reason: string, cause?: unknown): DataError {
  return new DataError(`${path}: this tokenizer cannot be read: ${reason}`, {
    cause,
    remedy: 'BPE, WordPiece and Unigram models with the usual normalizers and pre-tokenizers are known.',
  });
}
