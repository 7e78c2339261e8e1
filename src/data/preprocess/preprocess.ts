/** From text files to indexed data sets: streaming, on any number of threads, with bounded memory. */

import { statSync } from 'node:fs';
import { DataError, UsageError } from '../../base/errors.ts';
import { fileError } from '../../base/files.ts';
import { optimalDtype } from '../indexed-dataset/format.ts';
import type { StoredTokens } from '../indexed-dataset/writer.ts';
import { readBlocks } from '../text/blocks.ts';
import type { InvalidDocument, TextBlock } from '../text/documents.ts';
import { textFormatOf } from '../text/format.ts';
import { createTokenizer } from '../tokenizers/create-tokenizer.ts';
import type { Tokenizer, TokenizerSource } from '../tokenizers/tokenizer.ts';
import type { EncodedJob, EncodeJob, EncodeOptions } from './encode.ts';
import { type OutputSummary, openOutputs } from './outputs.ts';
import { createEncoderPool, createLocalEncoder, type Encoder } from './pool.ts';

export interface PreprocessOptions {
  /** `.jsonl` files (one object a line) and plain-text files (each one document), read in this order. */
  readonly inputs: readonly string[];
  /** Keys of the JSON objects; each becomes a data set of its own. Default `['text']`; plain text counts as the one key. */
  readonly jsonKeys?: readonly string[];
  readonly tokenizer: TokenizerSource;
  /** End every document that is not empty with the end-of-document token. */
  readonly appendEod: boolean;
  /** Output is `{outputPrefix}_{key}_document.bin` and `.idx`. */
  readonly outputPrefix: string;
  /** Threads; 1 works on the calling thread. Default 1. The output does not depend on it. */
  readonly workers?: number;
  /** Leave out input that cannot be used, and count it, instead of stopping. */
  readonly skipInvalid?: boolean;
  readonly onInvalid?: (invalid: InvalidDocument) => void;
  /** Called after every block written, some times a second. */
  readonly onProgress?: (progress: PreprocessProgress) => void;
  /** Stops the work; partial output is removed and the signal's reason thrown. */
  readonly signal?: AbortSignal;
}

export interface PreprocessProgress {
  readonly bytesRead: number;
  /** Size of all inputs; 0 for pipes. */
  readonly totalBytes: number;
  readonly documents: number;
  /** Over all keys. */
  readonly tokens: number;
  readonly skipped: number;
  readonly seconds: number;
}

/** One data set written. */
export interface PreprocessSummary extends OutputSummary {
  /** Lines and stretches of text left out or repaired (`skipInvalid`), over all inputs. */
  readonly skipped: number;
  readonly inputBytes: number;
  readonly seconds: number;
}

/** Small enough that threads share even short inputs evenly, large enough that messages cost nothing. */
const blockBytes = 1 << 18;

/**
 * Tokenizes `inputs` and writes one data set for every key. Memory is a few blocks for each thread, or the longest
 * JSON line; a plain-text document of any length is read in pieces where the tokenizer allows it.
 *
 * @throws DataError naming file and line for input that cannot be used; UsageError for contradictory options;
 *   MegatronError where the output cannot be written. No partial output stays, and existing data sets stay as they were.
 */
export async function preprocess(options: PreprocessOptions): Promise<PreprocessSummary[]> {
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const { signal, workers = 1 } = options;
  signal?.throwIfAborted();
  const jsonKeys = keysOf(options);
  if (!Number.isSafeInteger(workers) || workers < 1 || workers > 1024) {
    throw new UsageError(`cannot work with ${workers} threads`, { remedy: 'Give --workers a number from 1 to 1024.' });
  }
  const totalBytes = options.inputs.reduce((sum, path) => sum + sizeOf(path), 0);
  const tokenizer = createTokenizer(options.tokenizer);
  const end = endOfDocument(tokenizer, options.appendEod);
  const encode: EncodeOptions = { jsonKeys, skipInvalid: options.skipInvalid === true };

  using outputs = openOutputs(options.outputPrefix, jsonKeys, optimalDtype(tokenizer.vocabSize), end);
  await using encoder =
    workers === 1 ? createLocalEncoder(tokenizer, encode) : createEncoderPool(workers, options.tokenizer, encode);
  let bytesRead = 0;
  let skipped = 0;
  // Threads in the midst of a long document end at once.
  const stop = () => void encoder[Symbol.asyncDispose]();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for await (const encoded of inOrder(encoder, jobs(options, tokenizer, signal), 2 * workers)) {
      signal?.throwIfAborted();
      outputs.write(encoded);
      bytesRead += encoded.consumedBytes;
      skipped += encoded.invalid.length;
      for (const invalid of encoded.invalid) options.onInvalid?.(invalid);
      const { documents, tokens } = outputs;
      options.onProgress?.({ bytesRead, totalBytes, documents, tokens, skipped, seconds: seconds() });
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  signal?.throwIfAborted();
  if (outputs.tokens === 0) {
    throw new DataError(`${options.inputs.join(', ')}: there is no text to tokenize`, {
      remedy: 'Check the inputs and --json-keys; nothing was written.',
    });
  }
  return outputs.finish().map((summary) => ({ ...summary, skipped, inputBytes: bytesRead, seconds: seconds() }));
}

/** Every input is looked at before any work, so that a name misspelt is not found out hours later. */
function sizeOf(path: string): number {
  try {
    const found = statSync(path);
    if (!found.isDirectory()) return found.size;
  } catch (error) {
    throw fileError(`cannot read ${path}`, error);
  }
  throw new UsageError(`cannot read ${path}: it is a folder`, { remedy: 'Name the files inside it with --input.' });
}

function keysOf(options: PreprocessOptions): readonly string[] {
  const jsonKeys = options.jsonKeys ?? ['text'];
  if (options.inputs.length === 0) throw new UsageError('there is no input', { remedy: 'Name a file with --input.' });
  if (jsonKeys.length === 0) throw new UsageError('there is no JSON key', { remedy: 'Name one with --json-keys.' });
  const twice = jsonKeys.find((key, i) => jsonKeys.indexOf(key) !== i);
  if (twice !== undefined) {
    throw new UsageError(`--json-keys names ${twice} twice`, { remedy: 'Name every key once.' });
  }
  const formats = options.inputs.map(textFormatOf);
  if (formats.every((format) => format === 'text')) return ['text'];
  if (jsonKeys.length > 1 && formats.includes('text')) {
    const plain = options.inputs[formats.indexOf('text')];
    throw new UsageError(`${plain} is plain text and cannot be divided among the keys ${jsonKeys.join(', ')}`, {
      remedy: 'Preprocess plain-text files by themselves.',
    });
  }
  return jsonKeys;
}

function endOfDocument(tokenizer: Tokenizer, append: boolean): StoredTokens | undefined {
  if (!append) return undefined;
  const id = tokenizer.endOfDocument;
  if (id === undefined) {
    throw new UsageError(`--append-eod: the ${tokenizer.type} has no end-of-document token`, {
      remedy: 'Leave --append-eod out, or use a tokenizer with an end-of-document token.',
    });
  }
  return optimalDtype(tokenizer.vocabSize) === 'uint16' ? Uint16Array.of(id) : Int32Array.of(id);
}

/** Blocks of all inputs; the blocks of one document together where the tokenizer must see it whole. */
async function* jobs(options: PreprocessOptions, tokenizer: Tokenizer, signal: AbortSignal | undefined) {
  for (const path of options.inputs) {
    let blocks: TextBlock[] = [];
    const read = { blockBytes, skipInvalid: options.skipInvalid === true };
    for await (const block of readBlocks(path, read)) {
      signal?.throwIfAborted();
      blocks.push(block);
      if (!block.endsDocument && tokenizer.encodesInPieces !== true) continue;
      yield { blocks } satisfies EncodeJob;
      blocks = [];
    }
  }
}

/**
 * Results in the order of the jobs. At most `limit` jobs are out at a time: reading waits for encoding, and encoding
 * for writing. The first error in the order of the input is thrown, whichever thread met one first.
 */
async function* inOrder(encoder: Encoder, source: AsyncIterable<EncodeJob>, limit: number) {
  type Outcome = { readonly encoded: EncodedJob } | { readonly error: unknown };
  const open: Promise<Outcome>[] = [];
  const take = async () => {
    const outcome = await (open.shift() as Promise<Outcome>);
    if ('error' in outcome) throw outcome.error;
    return outcome.encoded;
  };
  try {
    for await (const job of source) {
      const settled = (encoded: EncodedJob): Outcome => ({ encoded });
      open.push(encoder.encode(job).then(settled, (error: unknown): Outcome => ({ error })));
      if (open.length >= limit) yield await take();
    }
  } catch (error) {
    // The reader failed further on in the input than the jobs that are still out.
    while (open.length > 0) await take();
    throw error;
  }
  while (open.length > 0) yield await take();
}
