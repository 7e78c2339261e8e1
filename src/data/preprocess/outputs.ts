/** Writes encoded documents to one data set for each JSON key, in the order of the input. */

import type { WrittenDtype } from '../indexed-dataset/format.ts';
import { createIndexedDatasetWriter, type IndexedDatasetWriter, type StoredTokens } from '../indexed-dataset/writer.ts';
import type { EncodedJob, EncodedKey } from './encode.ts';

export interface OutputSummary {
  readonly key: string;
  /** Path without ending, for `--data-path`. */
  readonly prefix: string;
  /** Documents, empty ones included. */
  readonly documents: number;
  /** Documents without tokens: they have an entry in the index but no sequence, as in Megatron. */
  readonly emptyDocuments: number;
  readonly tokens: number;
  /** Bytes of the `.bin` file. */
  readonly bytes: number;
}

/** The data sets being written. Dispose without `finish` to leave no trace of them. */
export interface Outputs extends Disposable {
  /** Documents written so far. */
  readonly documents: number;
  /** Tokens written so far, over all keys. */
  readonly tokens: number;
  /** Appends; jobs must come in the order of the input. */
  write(encoded: EncodedJob): void;
  finish(): OutputSummary[];
}

/**
 * Opens `{outputPrefix}_{key}_document` for every key.
 *
 * @param end put after every document that is not empty.
 */
export function openOutputs(
  outputPrefix: string,
  jsonKeys: readonly string[],
  dtype: WrittenDtype,
  end: StoredTokens | undefined,
): Outputs {
  const outputs: { readonly key: string; readonly prefix: string; readonly writer: IndexedDatasetWriter }[] = [];
  const close = () => {
    for (const { writer } of outputs) writer[Symbol.dispose]();
  };
  try {
    for (const key of jsonKeys) {
      const prefix = `${outputPrefix}_${key}_document`;
      outputs.push({ key, prefix, writer: createIndexedDatasetWriter(prefix, dtype) });
    }
  } catch (error) {
    close();
    throw error;
  }
  /** Tokens of the document that is being written, for each key; it may have come in pieces. */
  const pending = new Float64Array(jsonKeys.length);
  let documents = 0;
  let tokens = 0;

  function writeKey(key: number, writer: IndexedDatasetWriter, encoded: EncodedKey, endsDocument: boolean): void {
    let at = 0;
    for (const [i, length] of encoded.lengths.entries()) {
      writer.append(encoded.tokens.subarray(at, at + length));
      at += length;
      pending[key] = (pending[key] as number) + length;
      tokens += length;
      if (i < encoded.lengths.length - 1 || endsDocument) endDocument(key, writer);
    }
  }

  function endDocument(key: number, writer: IndexedDatasetWriter): void {
    if ((pending[key] as number) > 0) {
      if (end !== undefined) {
        writer.append(end);
        tokens++;
      }
      writer.endSequence();
    }
    writer.endDocument();
    pending[key] = 0;
    if (key === 0) documents++;
  }

  return {
    get documents() {
      return documents;
    },
    get tokens() {
      return tokens;
    },
    write(encoded) {
      for (const [key, { writer }] of outputs.entries()) {
        writeKey(key, writer, encoded.keys[key] as EncodedKey, encoded.endsDocument);
      }
    },
    finish() {
      // all or none: a full disk is noticed before the first data set takes its place
      for (const { writer } of outputs) writer.complete();
      return outputs.map(({ key, prefix, writer }) => {
        const { documents: written, sequences, tokens: count, bytes } = writer.finish();
        return { key, prefix, documents: written, emptyDocuments: written - sequences, tokens: count, bytes };
      });
    },
    [Symbol.dispose]: close,
  };
}
