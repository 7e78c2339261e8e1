/** The one interface that every tokenizer keeps: text to token ids and back. */

/** Tokenizer types, with Megatron's own names. */
export const tokenizerTypes = [
  'GPT2BPETokenizer',
  'BertWordPieceLowerCase',
  'HuggingFaceTokenizer',
  'ByteLevel',
] as const;
export type TokenizerType = (typeof tokenizerTypes)[number];

/** Where a tokenizer comes from; plain data, so that worker threads and checkpoints can rebuild the same one. */
export interface TokenizerSource {
  readonly type: TokenizerType;
  /** GPT-2 `vocab.json`/`encoder.json`, or BERT's `vocab.txt`. */
  readonly vocabFile?: string;
  /** GPT-2 `merges.txt`/`vocab.bpe`. */
  readonly mergeFile?: string;
  /** Hugging Face `tokenizer.json`. */
  readonly tokenizerModel?: string;
}

export interface Tokenizer {
  readonly type: TokenizerType;
  /** Number of token ids, special tokens included: ids are 0 … vocabSize − 1. */
  readonly vocabSize: number;
  /** Id of the end-of-document token; undefined where the vocabulary has none. */
  readonly endOfDocument: number | undefined;
  /** SHA-256 (hex) of everything that decides the ids, so that a checkpoint can tell whether the tokenizer is still its own. */
  readonly identity: string;
  /**
   * True where a text cut before a space, tab or line break that follows a visible character gives, piece by piece, the ids of the whole;
   * otherwise a document must be encoded in one call.
   */
  readonly encodesInPieces?: boolean;
  /** Token ids of `text`; special-token strings inside the text are ordinary text. */
  encode(text: string): Int32Array;
  /** Text of `ids`. @throws DataError for an id outside the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  /** UTF-8 bytes of one token (a token may be part of a character), for streaming output. */
  decodeBytes(id: number): Uint8Array;
}
