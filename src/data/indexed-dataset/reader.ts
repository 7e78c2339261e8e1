/** Reads tokens of an indexed data set (`prefix.idx` + `prefix.bin`). */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DataError, ShapeError } from '../../base/errors.ts';
import { fileError } from '../../base/files.ts';
import { binPath, bytesOfDtype, idxPath, type TokenDtype } from './format.ts';
import { readDocumentIndex, readIndexFile } from './index-file.ts';

/** An open data set; dispose it to close its file. */
export interface IndexedDataset extends Disposable {
  readonly prefix: string;
  readonly dtype: TokenDtype;
  readonly sequenceCount: number;
  readonly documentCount: number;
  readonly tokenCount: number;
  /** Tokens of each sequence, `[sequenceCount]`. Do not write. */
  readonly sequenceLengths: Int32Array;
  /** Document boundaries, `[documentCount + 1]`, read from the file at each call. */
  documentIndex(): Float64Array;
  /**
   * Copies `length` tokens from `offset` of a sequence to `target[at …]`.
   *
   * @throws ShapeError where the range is not inside the sequence or the target.
   * @throws DataError where the file became shorter, or holds an id that is no int32.
   */
  readTokens(sequence: number, offset: number, length: number, target: Int32Array, at: number): void;
  /** All tokens of a sequence. */
  readSequence(sequence: number): Int32Array;
}

/** Bytes of one positional read; a longer range is read in several. */
const scratchBytes = 1 << 16;

/**
 * Opens a data set and checks that its two files fit together. The tokens stay on disk: each read is one positional
 * read at a 64-bit offset, so that files larger than memory (or than 4 GiB) are no special case and the operating
 * system's page cache serves every process at once.
 *
 * @param prefix path without `.bin` or `.idx`.
 * @throws DataError naming the file, what is wrong with it and what to do.
 */
export function openIndexedDataset(prefix: string): IndexedDataset {
  const index = readIndexFile(prefix);
  const path = binPath(prefix);
  let handle: number | undefined;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(`cannot read ${path}`, error);
    throw new DataError(`${path} does not exist, although ${idxPath(prefix)} does`, {
      remedy: 'Copy the .bin file beside its .idx file, or run `megatron preprocess` again.',
    });
  }
  const found = fstatSync(handle).size;
  if (found !== index.binBytes) {
    closeSync(handle);
    throw new DataError(`${path} has ${found} bytes, but ${idxPath(prefix)} describes ${index.binBytes}`, {
      remedy: 'The two files are not of one run, or one was cut short: copy both again, or preprocess again.',
    });
  }

  const { dtype, sequenceLengths, sequenceOffsets } = index;
  const itemBytes = bytesOfDtype(dtype);
  const scratch = new Uint8Array(scratchBytes);
  const decode = decoderOf(dtype, scratch.buffer);

  function readTokens(sequence: number, offset: number, length: number, target: Int32Array, at: number): void {
    const available = sequenceLengths[sequence];
    if (available === undefined || offset < 0 || length < 0 || offset + length > available) {
      throw new ShapeError(
        `${prefix}: no tokens ${offset} to ${offset + length} in sequence ${sequence} of ${available ?? 0} tokens`,
      );
    }
    if (at < 0 || at + length > target.length) {
      throw new ShapeError(`${length} tokens at ${at} do not fit into an array of ${target.length}`);
    }
    if (handle === undefined) throw new DataError(`${path} is closed`);
    let position = (sequenceOffsets[sequence] as number) + offset * itemBytes;
    for (let done = 0; done < length; ) {
      const bytes = Math.min(scratchBytes, (length - done) * itemBytes);
      for (let filled = 0; filled < bytes; ) {
        const count = readSync(handle, scratch, filled, bytes - filled, position + filled);
        if (count === 0) {
          throw new DataError(`${path} ends at byte ${position + filled}, although it had ${found} bytes when opened`, {
            remedy: 'Do not change a data set while a run reads it.',
          });
        }
        filled += count;
      }
      const tokens = bytes / itemBytes;
      if (!decode(tokens, target, at + done)) {
        throw new DataError(`${path}: sequence ${sequence} holds an id beyond 2147483647 near byte ${position}`, {
          remedy: 'The file is damaged or was not written as tokens: preprocess again.',
        });
      }
      done += tokens;
      position += bytes;
    }
  }

  return {
    prefix,
    dtype,
    sequenceCount: index.sequenceCount,
    documentCount: index.documentCount,
    tokenCount: index.tokenCount,
    sequenceLengths,
    documentIndex: () => readDocumentIndex(prefix),
    readTokens,
    readSequence(sequence) {
      const tokens = new Int32Array(sequenceLengths[sequence] ?? 0);
      readTokens(sequence, 0, tokens.length, tokens, 0);
      return tokens;
    },
    [Symbol.dispose]() {
      if (handle !== undefined) closeSync(handle);
      handle = undefined;
    },
  };
}

/** Copies decoded tokens from the scratch buffer; false where an id is no int32. */
type Decoder = (count: number, target: Int32Array, at: number) => boolean;

function decoderOf(dtype: TokenDtype, scratch: ArrayBuffer): Decoder {
  if (dtype === 'int64') {
    const words = new Int32Array(scratch);
    return (count, target, at) => {
      let clean = true;
      for (let i = 0; i < count; i++) {
        const low = words[2 * i] as number;
        if (words[2 * i + 1] !== low >> 31) clean = false;
        target[at + i] = low;
      }
      return clean;
    };
  }
  const narrow = narrowView(dtype, scratch);
  return (count, target, at) => {
    target.set(narrow.subarray(0, count), at);
    return true;
  };
}

/** Little-endian files read as the machine's own integers: every platform of Node that we run on is little-endian. */
function narrowView(dtype: Exclude<TokenDtype, 'int64'>, scratch: ArrayBuffer) {
  switch (dtype) {
    case 'uint8':
      return new Uint8Array(scratch);
    case 'int8':
      return new Int8Array(scratch);
    case 'int16':
      return new Int16Array(scratch);
    case 'uint16':
      return new Uint16Array(scratch);
    case 'int32':
      return new Int32Array(scratch);
  }
}
