/** A safetensors file open for reading: any slice of any tensor, by positional reads into the caller's memory. */

import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CheckpointError, MegatronError, messageOf } from '../base/errors.ts';
import { readFully } from '../base/files.ts';
import { elementCount, itemSize } from './dtype.ts';
import { readBox } from './read-box.ts';
import { largestHeaderBytes, parseHeader, type SafetensorsHeader, type TensorEntry } from './safetensors-header.ts';
import { isInside, type Slice, sliceWords } from './slices.ts';

const hashChunkBytes = 1024 * 1024;

/** SHA-256 (hex) of all of an open file. */
export function hashFile(handle: number): string {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafeSlow(hashChunkBytes);
  for (let position = 0; ; ) {
    const read = readSync(handle, chunk, 0, chunk.byteLength, position);
    if (read === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, read));
    position += read;
  }
}

/** A safetensors file of any size; `using` closes it. */
export class SafetensorsFile implements Disposable {
  readonly path: string;
  readonly header: SafetensorsHeader;
  readonly #handle: number;
  #open = true;

  /** @throws CheckpointError if the file is missing, truncated or malformed. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#handle = openSync(path, 'r');
    } catch (error) {
      throw new CheckpointError(`cannot open ${path}: ${messageOf(error)}`, { cause: error });
    }
    try {
      this.header = this.#readHeader();
    } catch (error) {
      closeSync(this.#handle);
      if (error instanceof MegatronError) throw error;
      throw new CheckpointError(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  #read(destination: Uint8Array, position: number): void {
    const ended = (at: number): Error =>
      new CheckpointError(`${this.path} ends at byte ${at}, in the middle of its data`);
    readFully(this.#handle, destination, position, ended);
  }

  #readHeader(): SafetensorsHeader {
    const fileBytes = fstatSync(this.#handle).size;
    if (fileBytes < 8)
      throw new CheckpointError(`${this.path} is damaged or no safetensors file: it has ${fileBytes} bytes`);
    const lengthBytes = Buffer.alloc(8);
    this.#read(lengthBytes, 0);
    const length = Number(lengthBytes.readBigUInt64LE(0));
    if (length > largestHeaderBytes || length > fileBytes - 8) {
      throw new CheckpointError(
        `${this.path} is damaged or no safetensors file: its first 8 bytes announce a header of ${length} bytes, the file has ${fileBytes}`,
      );
    }
    const json = Buffer.alloc(length);
    this.#read(json, 8);
    return parseHeader(json, fileBytes, this.path);
  }

  /** @throws CheckpointError if the file has no such tensor. */
  entry(name: string): TensorEntry {
    const entry = this.header.tensors.get(name);
    if (entry === undefined) throw new CheckpointError(`${this.path} holds no tensor "${name}"`);
    return entry;
  }

  /**
   * Reads `slice` of a tensor into `destination`, row-major and without gaps.
   *
   * @throws CheckpointError if the slice lies outside the tensor, or the destination has another size.
   */
  readInto(name: string, slice: Slice, destination: Uint8Array): void {
    const bytes = elementCount(slice.shape) * itemSize(this.entry(name).dtype);
    if (destination.byteLength !== bytes) {
      throw new CheckpointError(
        `slice ${sliceWords(slice)} of "${name}" takes ${bytes} bytes, the destination has ${destination.byteLength}`,
      );
    }
    this.readPart(
      name,
      slice,
      destination,
      slice.shape,
      slice.shape.map(() => 0),
    );
  }

  /** Reads `slice` of a tensor to `destinationOffset` of a row-major tensor of `destinationShape` in `destination`. */
  readPart(
    name: string,
    slice: Slice,
    destination: Uint8Array,
    destinationShape: readonly number[],
    destinationOffset: readonly number[],
  ): void {
    const entry = this.entry(name);
    if (!isInside(slice, entry.shape)) {
      throw new CheckpointError(
        `slice ${sliceWords(slice)} lies outside tensor "${name}" of shape [${entry.shape.join(', ')}] in ${this.path}`,
      );
    }
    const start = this.header.dataStart + entry.begin;
    readBox(
      {
        itemBytes: itemSize(entry.dtype),
        shape: slice.shape,
        sourceShape: entry.shape,
        sourceOffset: slice.offset,
        destinationShape,
        destinationOffset,
      },
      (part, position) => this.#read(part, start + position),
      destination,
    );
  }

  /** SHA-256 (hex) of the whole file, at about 1.5 GB/s. */
  sha256(): string {
    return hashFile(this.#handle);
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.#handle);
    this.#open = false;
  }
}
