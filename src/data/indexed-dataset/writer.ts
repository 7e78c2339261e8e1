/** Writes an indexed data set (`prefix.idx` + `prefix.bin`) in one pass, with bounded memory. */

import { linkSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DataError, MegatronError, ShapeError } from '../../base/errors.ts';
import { fileError, syncFolder, temporaryBeside } from '../../base/files.ts';
import {
  binPath,
  bytesOfDtype,
  codeOfDtype,
  idxPath,
  indexHeaderBytes,
  indexMagic,
  indexVersion,
  type WrittenDtype,
} from './format.ts';
import { openSpool, type Spool } from './spool.ts';

/** Token ids as stored. */
export type StoredTokens = Uint16Array | Int32Array;

/** A pair being written. Dispose without `finish` to take everything back; an existing pair is then as it was. */
export interface IndexedDatasetWriter extends Disposable {
  /** Appends tokens to the current sequence; a sequence may come in any number of pieces. */
  append(tokens: StoredTokens): void;
  /** Ends the current sequence. @throws DataError beyond 2147483647 tokens, the format's limit. */
  endSequence(): void;
  /** Ends the current document. One with no sequence is kept as an empty document, as Megatron does. */
  endDocument(): void;
  /** Writes all that is missing of both files, still beside their places: what can fail for lack of room has then been done. */
  complete(): void;
  /** Completes both files and puts them in place. */
  finish(): IndexedDatasetSummary;
}

export interface IndexedDatasetSummary {
  readonly documents: number;
  readonly sequences: number;
  readonly tokens: number;
  /** Bytes of the `.bin` file. */
  readonly bytes: number;
}

/**
 * Opens a writer. Both files grow beside their places (`*.partial`), are forced to the disk and then renamed, the
 * `.bin` first. If the second rename fails, the first is undone. Only a power cut between the two renames can leave a
 * new `.bin` with an old `.idx`; the old `.bin` is then still there under a `.previous` name, and reading reports the
 * mismatch. Lengths and document boundaries are spooled to disk, so memory does not grow with the data.
 *
 * @throws MegatronError where the folder cannot be written or the disk is full; nothing is left behind.
 */
export function createIndexedDatasetWriter(prefix: string, dtype: WrittenDtype): IndexedDatasetWriter {
  const itemBytes = bytesOfDtype(dtype);
  const bin = resolve(binPath(prefix));
  const idx = resolve(idxPath(prefix));
  refuseFolder(bin);
  refuseFolder(idx);
  const spools: Spool[] = [];
  let open = true;

  function abandon(): void {
    if (!open) return;
    open = false;
    for (const spool of spools) spool.remove();
  }

  /** Any failure takes the partial files away before it reaches the caller. */
  function guarded<Result>(what: string, action: () => Result): Result {
    if (!open) throw new MegatronError(`the writer of ${prefix} is closed`);
    try {
      return action();
    } catch (error) {
      abandon();
      throw error instanceof MegatronError ? error : fileError(`cannot write ${what}`, error);
    }
  }

  const [tokenSpool, indexSpool, documentSpool] = guarded(bin, () => {
    mkdirSync(dirname(bin), { recursive: true });
    const created = [openSpool(bin), openSpool(idx), openSpool(`${idx}.documents`)] as const;
    spools.push(...created);
    return created;
  });
  let sequences = 0;
  let documents = 0;
  let tokenCount = 0;
  let sequenceTokens = 0;
  guarded(idx, () => {
    indexSpool.write(Buffer.alloc(indexHeaderBytes));
    documentSpool.writeInt64(0);
  });

  let completed = false;
  function complete(): void {
    if (completed) return;
    tokenSpool.flush();
    indexSpool.flush();
    documentSpool.flush();
    writeOffsets(indexSpool, sequences, itemBytes);
    documentSpool.copyTo(indexSpool);
    indexSpool.flush();
    indexSpool.overwrite(headerOf(dtype, sequences, documents + 1), 0);
    tokenSpool.sync();
    indexSpool.sync();
    documentSpool.remove();
    completed = true;
  }

  return {
    append(tokens) {
      if (tokens.BYTES_PER_ELEMENT !== itemBytes) {
        throw new ShapeError(`${prefix} is written as ${dtype}, not as ${8 * tokens.BYTES_PER_ELEMENT}-bit tokens`);
      }
      guarded(bin, () => {
        tokenSpool.write(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
        sequenceTokens += tokens.length;
      });
    },
    endSequence() {
      guarded(idx, () => {
        if (sequenceTokens > 0x7fffffff) {
          throw new DataError(`document ${documents} has ${sequenceTokens} tokens; the format's limit is 2147483647`, {
            remedy: 'Split the text into several documents (JSONL with one document a line).',
          });
        }
        indexSpool.writeInt32(sequenceTokens);
        sequences++;
        tokenCount += sequenceTokens;
        sequenceTokens = 0;
      });
    },
    endDocument() {
      guarded(idx, () => {
        if (sequenceTokens > 0) throw new MegatronError(`document ${documents} ends inside a sequence`);
        documentSpool.writeInt64(sequences);
        documents++;
      });
    },
    complete: () => guarded(idx, complete),
    finish() {
      return guarded(idx, () => {
        complete();
        putInPlace(tokenSpool.path, bin, indexSpool.path, idx);
        open = false;
        return { documents, sequences, tokens: tokenCount, bytes: tokenCount * itemBytes };
      });
    },
    [Symbol.dispose]: abandon,
  };
}

function headerOf(dtype: WrittenDtype, sequences: number, boundaries: number): Buffer {
  const header = Buffer.alloc(indexHeaderBytes);
  indexMagic.copy(header);
  header.writeBigUInt64LE(BigInt(indexVersion), 9);
  header.writeUInt8(codeOfDtype(dtype), 17);
  header.writeBigUInt64LE(BigInt(sequences), 18);
  header.writeBigUInt64LE(BigInt(boundaries), 26);
  return header;
}

/** Second section of the index: running sums of the first, which is read back in chunks. */
function writeOffsets(index: Spool, sequences: number, itemBytes: number): void {
  const chunk = Buffer.alloc(Math.min(sequences, 1 << 16) * 4);
  let offset = 0;
  for (let first = 0; first < sequences; first += 1 << 16) {
    const count = Math.min(1 << 16, sequences - first);
    index.read(chunk.subarray(0, 4 * count), indexHeaderBytes + 4 * first);
    for (let i = 0; i < count; i++) {
      index.writeInt64(offset);
      offset += chunk.readInt32LE(4 * i) * itemBytes;
    }
  }
}

/** Renames both; the old `.bin` is kept under another name until the `.idx` is in place too. */
function putInPlace(newBin: string, bin: string, newIdx: string, idx: string): void {
  const previous = keepUnderAnotherName(bin);
  renameSync(newBin, bin);
  try {
    renameSync(newIdx, idx);
  } catch (error) {
    if (previous === undefined) rmSync(bin, { force: true });
    else renameSync(previous, bin);
    throw error;
  }
  if (previous !== undefined) rmSync(previous, { force: true });
  syncFolder(dirname(bin));
}

function keepUnderAnotherName(path: string): string | undefined {
  const previous = temporaryBeside(path).replace(/partial$/, 'previous');
  try {
    linkSync(path, previous);
    return previous;
  } catch {
    // No old file, or a file system without links: then only the rename itself protects the old pair.
    return undefined;
  }
}

function refuseFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw new DataError(`cannot write ${path}: it is a folder`, { remedy: 'Choose another output prefix.' });
  }
}
