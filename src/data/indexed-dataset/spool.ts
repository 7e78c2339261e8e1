/** A buffered file that grows beside its final place; parts of it can be read back and overwritten. */

import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { DataError, MegatronError } from '../../base/errors.ts';
import { readFully, temporaryBeside, writeFully } from '../../base/files.ts';

export interface Spool {
  readonly path: string;
  write(bytes: Uint8Array): void;
  writeInt32(value: number): void;
  writeInt64(value: number): void;
  flush(): void;
  /** Reads flushed bytes. */
  read(target: Uint8Array, position: number): void;
  overwrite(bytes: Uint8Array, position: number): void;
  copyTo(other: Spool): void;
  /** Forces the file to the disk and closes it. */
  sync(): void;
  remove(): void;
}

/** Opens a new partial file beside `target`, with a buffer of 256 KiB. */
export function openSpool(target: string): Spool {
  const path = temporaryBeside(target);
  const buffer = Buffer.alloc(1 << 18);
  let handle: number | undefined = openSync(path, 'wx+');
  let used = 0;
  let flushed = 0;

  function descriptor(): number {
    if (handle === undefined) throw new MegatronError(`${path} is closed`);
    return handle;
  }

  function close(): void {
    if (handle !== undefined) closeSync(handle);
    handle = undefined;
  }

  const spool: Spool = {
    path,
    write(bytes) {
      if (bytes.byteLength > buffer.byteLength - used) spool.flush();
      if (bytes.byteLength >= buffer.byteLength) {
        writeFully(descriptor(), bytes);
        flushed += bytes.byteLength;
        return;
      }
      buffer.set(bytes, used);
      used += bytes.byteLength;
    },
    writeInt32(value) {
      if (buffer.byteLength - used < 4) spool.flush();
      used = buffer.writeInt32LE(value, used);
    },
    writeInt64(value) {
      if (buffer.byteLength - used < 8) spool.flush();
      used = buffer.writeUInt32LE(value % 4294967296, used);
      used = buffer.writeUInt32LE(Math.floor(value / 4294967296), used);
    },
    flush() {
      writeFully(descriptor(), buffer.subarray(0, used));
      flushed += used;
      used = 0;
    },
    read(into, position) {
      readFully(descriptor(), into, position, () => new DataError(`${path} became shorter while it was written`));
    },
    overwrite(bytes, position) {
      let offset = 0;
      while (offset < bytes.byteLength) {
        offset += writeSync(descriptor(), bytes, offset, bytes.byteLength - offset, position + offset);
      }
    },
    copyTo(other) {
      const chunk = Buffer.alloc(Math.min(flushed, 1 << 18));
      for (let position = 0; position < flushed; position += chunk.byteLength) {
        const part = chunk.subarray(0, Math.min(chunk.byteLength, flushed - position));
        spool.read(part, position);
        other.write(part);
      }
    },
    sync() {
      fsyncSync(descriptor());
      close();
    },
    remove() {
      try {
        close();
      } finally {
        rmSync(path, { force: true });
      }
    },
  };
  return spool;
}
