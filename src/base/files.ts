/** Files written beside and renamed, so that a crash or a full disk never damages what existed. */

import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { MegatronError, messageOf } from './errors.ts';

/** A name beside `path` that no other process or thread uses. */
export function temporaryBeside(path: string): string {
  return `${path}.${process.pid}-${randomBytes(4).toString('hex')}.partial`;
}

/** Forces a folder's entries (a rename, say) to the disk; a no-op where the platform cannot. */
export function syncFolder(path: string): void {
  let handle: number | undefined;
  try {
    handle = openSync(path, 'r');
    fsyncSync(handle);
  } catch {
    // Windows and some network file systems refuse to sync folders; the rename itself is still atomic.
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/** Writes all of `bytes` at the handle's position; `writeSync` alone may write less. */
export function writeFully(handle: number, bytes: Uint8Array): void {
  for (let offset = 0; offset < bytes.byteLength; ) offset += writeSync(handle, bytes, offset);
}

/** One read asks for at most this much: below the 2 GiB that Node and Linux refuse, large enough to cost nothing. */
const largestReadBytes = 64 * 1024 * 1024;

/** Fills `target` from `position` of an open file. @throws what `ended` makes of the byte at which the file ends too early. */
export function readFully(handle: number, target: Uint8Array, position: number, ended: (at: number) => Error): void {
  for (let offset = 0; offset < target.byteLength; ) {
    const wanted = Math.min(largestReadBytes, target.byteLength - offset);
    const count = readSync(handle, target, offset, wanted, position + offset);
    if (count === 0) throw ended(position + offset);
    offset += count;
  }
}

/**
 * Writes a whole file beside its place, syncs it and renames it there.
 *
 * @throws MegatronError naming the path when the disk is full or the folder cannot be written; the old file is untouched.
 */
export function writeFileAtomically(path: string, content: string | Uint8Array): void {
  const target = resolve(path);
  const temporary = temporaryBeside(target);
  try {
    mkdirSync(dirname(target), { recursive: true });
    const handle = openSync(temporary, 'wx');
    try {
      writeFully(handle, typeof content === 'string' ? Buffer.from(content) : content);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, target);
    syncFolder(dirname(target));
  } catch (error) {
    discard(temporary);
    throw fileError(`cannot write ${target}`, error);
  }
}

/** Removes a file that may not have been made. */
function discard(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // a part of the path is a file, say: nothing was made there
  }
}

/**
 * Finds out whether `writeFileAtomically` would succeed, for files that only come at the end of long work; makes the folder.
 *
 * @throws MegatronError naming the path when it is a folder or cannot be written.
 */
export function expectWritable(path: string): void {
  const target = resolve(path);
  const temporary = temporaryBeside(target);
  try {
    if (statSync(target, { throwIfNoEntry: false })?.isDirectory()) {
      throw Object.assign(new Error('it is a folder'), { code: 'EISDIR' });
    }
    mkdirSync(dirname(target), { recursive: true });
    closeSync(openSync(temporary, 'wx'));
  } catch (error) {
    throw fileError(`cannot write ${target}`, error);
  } finally {
    discard(temporary);
  }
}

/** Wraps a system error in ours, with a remedy for the common codes. */
export function fileError(what: string, error: unknown): MegatronError {
  if (error instanceof MegatronError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  const remedies: Record<string, string> = {
    ENOSPC: 'The disk is full: free some space or choose another folder, then run the same command again.',
    EDQUOT: 'The disk quota is used up: free some space or choose another folder, then run the same command again.',
    EACCES: 'Check the permissions of the file and its folder.',
    EPERM: 'Check the permissions of the file and its folder.',
    EROFS: 'The file system is read-only: choose another folder.',
    ENOENT: 'Check the path for typing errors.',
    EISDIR: 'A file was expected there, not a folder.',
    ENOTDIR: 'A part of the path is a file, not a folder.',
    EMFILE: 'Too many open files: raise the limit with `ulimit -n`.',
  };
  const remedy = code === undefined ? undefined : remedies[code];
  return new MegatronError(`${what}: ${messageOf(error)}`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
