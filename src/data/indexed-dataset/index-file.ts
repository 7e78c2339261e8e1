/** Reading and checking an `.idx` file; see `format.ts` for its layout. */

import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { DataError } from '../../base/errors.ts';
import { fileError, readFully } from '../../base/files.ts';
import {
  bytesOfDtype,
  dtypeOfCode,
  idxPath,
  indexHeaderBytes,
  indexMagic,
  indexVersion,
  isTokenDtype,
  legacyMagic,
  type TokenDtype,
} from './format.ts';

/** What an `.idx` file says. */
export interface IndexFile {
  readonly dtype: TokenDtype;
  readonly sequenceCount: number;
  /** Documents; their boundaries are read by `readDocumentIndex`. */
  readonly documentCount: number;
  /** Tokens of each sequence, `[sequenceCount]`. */
  readonly sequenceLengths: Int32Array;
  /** Byte offset of each sequence in the `.bin` file, `[sequenceCount]`; doubles are exact to 2^53. */
  readonly sequenceOffsets: Float64Array;
  readonly tokenCount: number;
  /** Bytes that the `.bin` file must have. */
  readonly binBytes: number;
}

const chunkElements = 1 << 17;
const rebuild = 'The file was cut short or overwritten: copy it again, or run `megatron preprocess` again.';

/**
 * Reads and checks `prefix.idx`.
 *
 * @throws DataError where the file is not an index, is of a version or dtype we cannot read, is cut short, or
 *   where lengths, offsets and documents contradict each other.
 */
export function readIndexFile(prefix: string): IndexFile {
  const path = idxPath(prefix);
  return withFile(prefix, (handle) => {
    const header = readHeader(handle, path);
    const { sequenceCount, dtype } = header;
    const itemBytes = bytesOfDtype(dtype);

    const sequenceLengths = new Int32Array(sequenceCount);
    let tokenCount = 0;
    forEachChunk(handle, path, indexHeaderBytes, sequenceCount, 4, (view, first, count) => {
      for (let i = 0; i < count; i++) {
        const length = view.getInt32(4 * i, true);
        if (length < 0) throw damaged(path, `sequence ${first + i} has ${length} tokens`);
        sequenceLengths[first + i] = length;
        tokenCount += length;
      }
    });

    const sequenceOffsets = new Float64Array(sequenceCount);
    let binBytes = 0;
    forEachChunk(handle, path, indexHeaderBytes + 4 * sequenceCount, sequenceCount, 8, (view, first, count) => {
      for (let i = 0; i < count; i++) {
        const offset = getInt64(view, 8 * i);
        const expected = binBytes;
        if (offset !== expected) {
          throw damaged(path, `sequence ${first + i} starts at byte ${offset} of the .bin file, expected ${expected}`);
        }
        sequenceOffsets[first + i] = offset;
        binBytes += (sequenceLengths[first + i] as number) * itemBytes;
      }
    });

    checkDocuments(handle, path, header);
    return {
      dtype,
      sequenceCount,
      documentCount: header.boundaryCount - 1,
      sequenceLengths,
      sequenceOffsets,
      tokenCount,
      binBytes,
    };
  });
}

/**
 * Document boundaries of `prefix.idx`: document k holds the sequences from entry k to entry k + 1.
 *
 * @returns `[documentCount + 1]`, sequence numbers.
 */
export function readDocumentIndex(prefix: string): Float64Array {
  const path = idxPath(prefix);
  return withFile(prefix, (handle) => {
    const header = readHeader(handle, path);
    const boundaries = new Float64Array(header.boundaryCount);
    const start = indexHeaderBytes + 12 * header.sequenceCount;
    forEachChunk(handle, path, start, header.boundaryCount, 8, (view, first, count) => {
      for (let i = 0; i < count; i++) boundaries[first + i] = getInt64(view, 8 * i);
    });
    return boundaries;
  });
}

interface Header {
  readonly dtype: TokenDtype;
  readonly sequenceCount: number;
  readonly boundaryCount: number;
}

function readHeader(handle: number, path: string): Header {
  const size = fstatSync(handle).size;
  const header = Buffer.alloc(Math.min(size, indexHeaderBytes));
  readFully(handle, header, 0, (at) => endsEarly(path, at, header.byteLength));
  if (header.subarray(0, legacyMagic.length).equals(legacyMagic)) {
    throw new DataError(`${path} is of the older cached/lazy index format, which is not supported`, {
      remedy: 'Run `megatron preprocess` on the text again.',
    });
  }
  if (!header.subarray(0, indexMagic.length).equals(indexMagic.subarray(0, header.length)) || header.length < 9) {
    throw new DataError(`${path} is not an indexed data set: it does not begin with "MMIDIDX"`, {
      remedy: 'Give the prefix of a pair written by `megatron preprocess` or by Megatron-LM.',
    });
  }
  if (header.length < indexHeaderBytes) {
    throw damaged(path, `it has ${size} bytes, its header alone has ${indexHeaderBytes}`);
  }
  const version = header.readBigUInt64LE(9);
  if (version !== BigInt(indexVersion)) {
    throw new DataError(`${path} is of format version ${version}; only version ${indexVersion} is known`, {
      remedy: 'Write it again with `megatron preprocess`, or use a newer megatron-ts.',
    });
  }
  const code = header.readUInt8(17);
  const dtype = dtypeOfCode(code);
  if (dtype === undefined || !isTokenDtype(dtype)) {
    throw new DataError(
      `${path} has dtype code ${code}${dtype === undefined ? ', which the format does not define' : ` (${dtype})`}`,
      { remedy: 'Tokens must be uint8, int8, int16, uint16, int32 or int64: run `megatron preprocess` again.' },
    );
  }
  const sequenceCount = Number(header.readBigUInt64LE(18));
  const boundaryCount = Number(header.readBigUInt64LE(26));
  const expected = indexHeaderBytes + 12 * sequenceCount + 8 * boundaryCount;
  if (size !== expected && size !== expected + sequenceCount) {
    // One more byte a sequence holds the modes of multimodal data; they mean nothing here.
    throw damaged(
      path,
      `it has ${size} bytes, but ${sequenceCount} sequences and ${boundaryCount} document boundaries need ${expected}`,
    );
  }
  if (boundaryCount < 1) throw damaged(path, 'it has no document boundary, not even the first');
  return { dtype, sequenceCount, boundaryCount };
}

function checkDocuments(handle: number, path: string, header: Header): void {
  let previous = 0;
  const start = indexHeaderBytes + 12 * header.sequenceCount;
  forEachChunk(handle, path, start, header.boundaryCount, 8, (view, first, count) => {
    for (let i = 0; i < count; i++) {
      const boundary = getInt64(view, 8 * i);
      if (first + i === 0 && boundary !== 0) throw damaged(path, `document 0 starts at sequence ${boundary}, not 0`);
      if (boundary < previous || boundary > header.sequenceCount) {
        throw damaged(
          path,
          `document boundary ${first + i} is ${boundary}, expected ${previous} to ${header.sequenceCount}`,
        );
      }
      previous = boundary;
    }
  });
  if (previous !== header.sequenceCount) {
    throw damaged(path, `the last document ends at sequence ${previous}, expected ${header.sequenceCount}`);
  }
}

/** A signed 64-bit integer as a double; beyond 2^53 it is only near, and no valid file has one. */
function getInt64(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 4294967296 + view.getUint32(at, true);
}

function forEachChunk(
  handle: number,
  path: string,
  position: number,
  elements: number,
  elementBytes: number,
  visit: (view: DataView, first: number, count: number) => void,
): void {
  const buffer = new Uint8Array(Math.min(elements, chunkElements) * elementBytes);
  const view = new DataView(buffer.buffer);
  for (let first = 0; first < elements; first += chunkElements) {
    const count = Math.min(chunkElements, elements - first);
    const [bytes, start] = [count * elementBytes, position + first * elementBytes];
    readFully(handle, buffer.subarray(0, bytes), start, (at) => endsEarly(path, at, start + bytes));
    visit(view, first, count);
  }
}

const endsEarly = (path: string, at: number, expected: number): Error =>
  damaged(path, `it ends at byte ${at}, expected at least ${expected}`);

function withFile<Result>(prefix: string, use: (handle: number) => Result): Result {
  const path = idxPath(prefix);
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw missingIndex(prefix, error);
  }
  try {
    return use(handle);
  } finally {
    closeSync(handle);
  }
}

function missingIndex(prefix: string, error: unknown): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return fileError(`cannot read ${idxPath(prefix)}`, error);
  const ending = /\.(bin|idx)$/.exec(prefix)?.[0];
  const bare = ending === undefined ? prefix : prefix.slice(0, -ending.length);
  if (ending !== undefined && existsSync(idxPath(bare))) {
    return new DataError(`there is no data set ${prefix}: ${idxPath(prefix)} does not exist`, {
      remedy: `Leave the ending off: give ${bare}.`,
    });
  }
  return new DataError(`there is no data set ${prefix}: ${idxPath(prefix)} does not exist`, {
    remedy: 'Give the path of a .bin/.idx pair without its ending, as `megatron preprocess` printed it.',
  });
}

function damaged(path: string, what: string): DataError {
  return new DataError(`${path} is damaged: ${what}`, { remedy: rebuild });
}
