/**
 * Names and states of the folders under a save root.
 *
 *     iter_0000100/                                  a complete checkpoint
 *     latest_checkpointed_iteration.txt              the iteration to load: a plain number, as Megatron writes it
 *     .iter_0000100.<host>-<pid>-<random>.partial    being written
 *     .iter_0000100.<host>-<pid>-<random>.replaced   the old checkpoint while a new one of the same iteration takes its place
 *     .iter_0000100.<host>-<pid>-<random>.deleted    on its way out
 *
 * No system renames a folder over another, so replacing one takes two renames; if the process dies between them,
 * the `.replaced` folder is the checkpoint: readers find it there, and the next save moves it back.
 */

import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, messageOf } from '../base/errors.ts';
import { syncFolder } from '../base/files.ts';
import { manifestName } from './manifest.ts';

export const pointerName = 'latest_checkpointed_iteration.txt';
const dayMs = 24 * 3600 * 1000;

type HiddenState = 'partial' | 'replaced' | 'deleted';

interface HiddenFolder {
  readonly name: string;
  readonly iteration: number;
  readonly host: string;
  readonly pid: number;
  readonly state: HiddenState;
}

/** `iter_0000100`. */
export function iterationFolderName(iteration: number): string {
  return `iter_${String(iteration).padStart(7, '0')}`;
}

/** The iteration of a folder name such as `iter_0000100`; undefined for any other name. */
export function iterationOf(folderName: string): number | undefined {
  const match = /^iter_(\d{7,15})$/.exec(folderName);
  return match === null ? undefined : Number(match[1]);
}

const ownHost = (): string =>
  hostname()
    .replaceAll(/[^A-Za-z0-9]/g, '-')
    .slice(0, 48) || 'host';

/** A hidden folder name that no other process or thread uses; it tells whose it is, so that others can clean up after the dead. */
export function hiddenFolderName(iteration: number, state: HiddenState): string {
  return `.${iterationFolderName(iteration)}.${ownHost()}-${process.pid}-${randomBytes(4).toString('hex')}.${state}`;
}

function parseHidden(name: string): HiddenFolder | undefined {
  const match = /^\.iter_(\d{7,15})\.(.+)-(\d+)-[0-9a-f]{8}\.(partial|replaced|deleted)$/.exec(name);
  if (match === null) return undefined;
  const [, iteration, host = '', pid, state] = match;
  return { name, iteration: Number(iteration), host, pid: Number(pid), state: state as HiddenState };
}

/** Names under `root`; none where there is no such folder. @throws CheckpointError if it cannot be read. */
function namesIn(root: string): string[] {
  try {
    return readdirSync(root);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new CheckpointError(`cannot read the folder ${root}: ${messageOf(error)}`, { cause: error });
  }
}

/** Iterations with a folder under `root`, complete or not, ascending, each with the folder where it lies now. */
export function iterationFolders(root: string): Map<number, string> {
  const found = new Map<number, string>();
  const names = namesIn(root);
  for (const name of names) {
    const hidden = parseHidden(name);
    if (hidden?.state === 'replaced' && existsSync(join(root, name, manifestName)))
      found.set(hidden.iteration, join(root, name));
  }
  // A folder in its own place goes before one that was being replaced.
  for (const name of names) {
    const iteration = iterationOf(name);
    if (iteration !== undefined) found.set(iteration, join(root, name));
  }
  return new Map([...found].sort(([first], [second]) => first - second));
}

/** The iteration that the pointer names; undefined where there is no pointer. @throws CheckpointError if it holds something else. */
export function readPointer(root: string): number | undefined {
  const path = join(root, pointerName);
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CheckpointError(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
  if (!/^\d{1,15}$/.test(text))
    throw new CheckpointError(`${path} holds ${JSON.stringify(text.slice(0, 40))}, not an iteration`);
  return Number(text);
}

/**
 * Puts a finished folder in the place of `iteration`. What was there stays whole beside it.
 *
 * @returns the folder of the checkpoint that was there before, for the caller to delete when the new one is safe.
 */
export function moveIntoPlace(root: string, finished: string, iteration: number): string | undefined {
  const place = join(root, iterationFolderName(iteration));
  let replaced: string | undefined;
  if (existsSync(place)) {
    replaced = join(root, hiddenFolderName(iteration, 'replaced'));
    renameSync(place, replaced);
    syncFolder(root);
  }
  try {
    renameSync(finished, place);
  } catch (error) {
    if (replaced !== undefined) renameSync(replaced, place);
    throw error;
  }
  syncFolder(root);
  return replaced;
}

/** Deletes a checkpoint folder: out of sight first, by one rename, so that no half-deleted checkpoint is ever seen. */
export function deleteIteration(root: string, iteration: number, folder: string): void {
  const hidden = join(root, hiddenFolderName(iteration, 'deleted'));
  renameSync(folder, hidden);
  rmSync(hidden, { recursive: true, force: true });
}

/** Clears away what dead processes left under `root`, and moves a checkpoint back whose replacement they did not finish. */
export function cleanUp(root: string): void {
  for (const name of namesIn(root)) {
    const path = join(root, name);
    const hidden = parseHidden(name);
    if (hidden === undefined) {
      if (name.startsWith(`${pointerName}.`) && name.endsWith('.partial') && ageOf(path) > 60_000)
        rmSync(path, { force: true });
      continue;
    }
    if (!isAbandoned(hidden, path)) continue;
    const place = join(root, iterationFolderName(hidden.iteration));
    if (hidden.state === 'replaced' && !existsSync(place) && existsSync(join(path, manifestName))) {
      renameSync(path, place);
      syncFolder(root);
    } else {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

function ageOf(path: string): number {
  try {
    return Date.now() - statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}

/** True if the process that owns a hidden folder is dead, as far as can be known; in doubt the folder stays for a day. */
function isAbandoned(folder: HiddenFolder, path: string): boolean {
  const age = ageOf(path);
  if (age > dayMs) return true;
  if (folder.host !== ownHost()) return false;
  // In containers every run may have the same process id: what is older than this process was another's.
  if (folder.pid === process.pid) return age > process.uptime() * 1000 + 1000;
  try {
    process.kill(folder.pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
