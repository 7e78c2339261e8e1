/** The shapes in which text files are read: raw blocks for worker threads, and the pieces of documents inside them. */

/** `jsonl`: one JSON object a line. `text`: the whole file is one document. `auto`: by the file's name. */
export type TextFormat = 'jsonl' | 'text';

/**
 * A stretch of a file's bytes that can be parsed by itself, on any thread (plain data; `bytes` owns its buffer, so it can be transferred).
 *
 * A `jsonl` block holds whole lines. A `text` block is cut where no tokenizer of ours joins across: before a space, tab or line break that follows
 * a visible character.
 */
export interface TextBlock {
  readonly path: string;
  readonly format: TextFormat;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Byte offset of the block in the file. */
  readonly offset: number;
  /** 1-based line on which the block begins. */
  readonly firstLine: number;
  /** Size of the whole file, in bytes. */
  readonly fileBytes: number;
  /** Bytes of the file that this block stands for (skipped ones included): they sum to `fileBytes` over a file. */
  readonly consumedBytes: number;
  /** True where the last document of the block ends with it; always true for `jsonl`. */
  readonly endsDocument: boolean;
  /** Lines left out because they were longer than the limit (only with `skipInvalid`). */
  readonly skippedLines: readonly InvalidDocument[];
}

/**
 * One document, or one piece of it, in file order.
 *
 * For a tokenizer with `encodesInPieces`, the ids of a document are those of its pieces one after the other; for another, join the texts of the pieces
 * up to the one that `endsDocument` before encoding.
 */
export interface DocumentPiece {
  /** Text under each of the `jsonKeys`, in their order; one entry for plain text. */
  readonly texts: readonly string[];
  /** False where more of the same document follows; JSON lines are always whole documents. */
  readonly endsDocument: boolean;
  /** 1-based line of the file on which the piece begins. */
  readonly lineNumber: number;
  /**
   * Bytes of the file since the piece before it (of the block, for `documentsIn`), blank and skipped lines included: for progress. Only what comes
   * after the last document is in no piece.
   */
  readonly bytes: number;
}

/** What was wrong with a line or block that `skipInvalid` passed over. */
export interface InvalidDocument {
  readonly path: string;
  readonly lineNumber: number;
  readonly reason: string;
}

/** How to find the text inside a block. */
export interface ParseOptions {
  /** Keys whose strings are the text of a JSON line; default `['text']`. Plain text ignores them. */
  readonly jsonKeys?: readonly string[];
  /** Pass over lines that cannot be used, instead of throwing; in plain text, invalid UTF-8 becomes U+FFFD. */
  readonly skipInvalid?: boolean;
  /** Called once for everything that `skipInvalid` passed over. */
  readonly onInvalid?: (invalid: InvalidDocument) => void;
}

/** How to cut a file into blocks. */
export interface BlockOptions {
  readonly format?: TextFormat | 'auto';
  /** Bytes in a block, about; default 1 MiB. */
  readonly blockBytes?: number;
  /** Longest JSON line, or stretch of plain text with no white space in it, that is accepted; default and maximum 256 MiB. */
  readonly maximumBlockBytes?: number;
  readonly skipInvalid?: boolean;
}

export type ReadOptions = ParseOptions & BlockOptions;
