/** The checkpoints under a save root: which are there, which can be loaded, and what is wrong with the others. */

import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { MegatronError, messageOf } from '../base/errors.ts';
import { iterationFolders, iterationOf, pointerName, readPointer } from './folders.ts';
import { decodeManifest, type FileRecord, type Manifest, manifestName } from './manifest.ts';
import { hashFile } from './safetensors-file.ts';

export interface ListedCheckpoint {
  readonly iteration: number;
  readonly folder: string;
  /** True for the one that the pointer names. */
  readonly latest: boolean;
  /** What keeps it from loading; undefined if nothing was found. */
  readonly problem: string | undefined;
}

type FolderCheck =
  | { readonly manifest: Manifest; readonly problem: undefined }
  | { readonly manifest: undefined; readonly problem: string; readonly remedy: string | undefined };

/**
 * Checkpoints under `root`, ascending by iteration; none where there is no such folder.
 *
 * @param options.hashes also reads every file and compares its SHA-256 (seconds per gigabyte); otherwise the manifest, its checksum and all file sizes.
 */
export function listCheckpoints(root: string, options: { readonly hashes?: boolean } = {}): ListedCheckpoint[] {
  const latest = pointerOrUndefined(root);
  return [...iterationFolders(root)].map(([iteration, folder]) => {
    const check = checkFolder(folder);
    const problem = check.problem ?? (options.hashes === true ? hashProblem(folder, check.manifest) : undefined);
    return { iteration, folder, latest: iteration === latest, problem };
  });
}

function pointerOrUndefined(root: string): number | undefined {
  try {
    return readPointer(root);
  } catch {
    return undefined;
  }
}

/** Reads a folder's manifest and holds the files' sizes against it; quick, whatever the size. */
export function checkFolder(folder: string): FolderCheck {
  const path = join(folder, manifestName);
  const failed = (problem: string, remedy?: string): FolderCheck => ({ manifest: undefined, problem, remedy });
  if (!existsSync(path)) return failed(missingManifest(folder));
  try {
    const manifest = decodeManifest(readFileSync(path, 'utf8'), path);
    const named = iterationOf(basename(resolve(folder)));
    if (named !== undefined && named !== manifest.iteration) {
      return failed(`its manifest is of iteration ${manifest.iteration}`);
    }
    for (const file of manifest.files) {
      const problem = sizeProblem(folder, file);
      if (problem !== undefined) return failed(problem);
    }
    return { manifest, problem: undefined };
  } catch (error) {
    return failed(messageOf(error), error instanceof MegatronError ? error.remedy : undefined);
  }
}

function missingManifest(folder: string): string {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch (error) {
    return `it cannot be read: ${messageOf(error)}`;
  }
  if (names.some((name) => name.startsWith('mp_rank_') || name.endsWith('.distcp'))) {
    return `it was written by Megatron-LM itself (${manifestName} is missing, PyTorch files are there)`;
  }
  return `${manifestName} is missing`;
}

function sizeProblem(folder: string, file: FileRecord): string | undefined {
  try {
    const bytes = statSync(join(folder, file.name)).size;
    return bytes === file.bytes ? undefined : `${file.name} has ${bytes} bytes instead of ${file.bytes}`;
  } catch {
    return `${file.name} is missing`;
  }
}

/** The first file whose content is not what was saved; reads everything. */
export function hashProblem(folder: string, manifest: Manifest): string | undefined {
  for (const { name, sha256 } of manifest.files) {
    try {
      const handle = openSync(join(folder, name), 'r');
      try {
        if (hashFile(handle) !== sha256) return `the content of ${name} does not match its SHA-256`;
      } finally {
        closeSync(handle);
      }
    } catch (error) {
      return `${name} cannot be read: ${messageOf(error)}`;
    }
  }
  return undefined;
}

/**
 * True if anything under `root` claims to be a checkpoint, so that a first start can be told from a resume.
 * A damaged or half-written root is no first start: `openCheckpoint` then says what is wrong.
 */
export function hasCheckpoint(root: string): boolean {
  return existsSync(join(root, pointerName)) || iterationFolders(root).size > 0;
}

/** One sentence on what else under `root` can be loaded, and with which flag. */
export function loadableWords(root: string, except?: string): string {
  let listed: ListedCheckpoint[] = [];
  try {
    listed = listCheckpoints(root).filter((item) => item.problem === undefined && item.folder !== except);
  } catch {
    // The caller reports the folder's own error.
  }
  const last = listed.at(-1);
  if (last === undefined) return `There is no other loadable checkpoint in ${root}.`;
  const shown = listed.slice(-8).map((item) => item.iteration);
  const words = `${listed.length > shown.length ? `${listed.length} iterations, the last ` : ''}${shown.join(', ')}`;
  return `Still loadable in ${root}: ${words}. Load one with \`--load ${last.folder}\`.`;
}
