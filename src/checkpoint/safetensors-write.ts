/** Writes safetensors files of any size: one tensor at a time in memory, hashed on the way, synced at the end. */

import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { CheckpointError, MegatronError } from '../base/errors.ts';
import { fileError, writeFully } from '../base/files.ts';
import type { StoredDtype } from './dtype.ts';
import { layOutHeader } from './safetensors-header.ts';

/** A tensor to write. */
export interface WritableTensor {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** The tensor's bytes, row-major and little-endian; called once, when its turn comes, and not kept after. */
  data(): Uint8Array;
}

export interface WrittenFile {
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
}

/** Small enough that the hash finds in the processor's cache what was just written. */
const chunkBytes = 1024 * 1024;

/**
 * Writes `tensors` to a new file at `path` and forces it to the disk. The order in the file is by element size and name, not the caller's.
 *
 * @throws CheckpointError if a tensor's bytes do not fit its shape; MegatronError if the disk is full. An unfinished file stays for the caller to remove.
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<WritableTensor>,
  metadata: Readonly<Record<string, string>> = {},
): WrittenFile {
  const byName = new Map<string, WritableTensor>();
  const all = [...tensors];
  for (const tensor of all) byName.set(tensor.name, tensor);
  const { head, entries } = layOutHeader(all, metadata);
  return writeHashed(path, function* () {
    yield head;
    for (const { name, dtype, shape, bytes } of entries) {
      const data = byName.get(name)?.data();
      if (data?.byteLength !== bytes) {
        throw new CheckpointError(
          `tensor "${name}" (${dtype} [${shape.join(', ')}]) takes ${bytes} bytes, but ${data?.byteLength ?? 0} were given`,
        );
      }
      yield data;
    }
  });
}

/** Writes parts one after the other to a new file at `path`, hashing them, and forces it to the disk. */
export function writeHashed(path: string, parts: () => Iterable<Uint8Array>): WrittenFile {
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    const handle = openSync(path, 'wx');
    try {
      for (const part of parts()) {
        for (let start = 0; start < part.byteLength; start += chunkBytes) {
          const chunk = part.subarray(start, start + chunkBytes);
          writeFully(handle, chunk);
          hash.update(chunk);
        }
        bytes += part.byteLength;
      }
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    throw error instanceof MegatronError ? error : fileError(`cannot write ${path}`, error);
  }
  return { bytes, sha256: hash.digest('hex') };
}
