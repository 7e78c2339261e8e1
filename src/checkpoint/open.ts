/** Opens a checkpoint and reads any slice of any tensor from it, whatever layout saved it. */

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CheckpointError, messageOf } from '../base/errors.ts';
import { elementCount, itemSize, type StoredDtype } from './dtype.ts';
import { iterationFolderName, iterationFolders, iterationOf, pointerName, readPointer } from './folders.ts';
import { checkFolder, hashProblem, listCheckpoints, loadableWords } from './list.ts';
import { type Manifest, manifestName, type SliceRecord, type TensorRecord } from './manifest.ts';
import { SafetensorsFile } from './safetensors-file.ts';
import { intersection, isInside, type Slice, sliceWords, wholeSlice } from './slices.ts';

export interface OpenOptions {
  /**
   * `first-read` (default): a shard's SHA-256 is checked when something is first read from it, so no damaged byte reaches a model;
   * this reads the shard once more, at about 1.5 GB/s. `skip`: only sizes and headers; for ranks of a run where another one verifies.
   */
  readonly checksums?: 'first-read' | 'skip';
}

/** What a reader wants of a tensor. */
export interface TensorRequest extends Slice {
  /** The type that the reader's memory has; another one in the checkpoint is an error, never a silent conversion. */
  readonly dtype: StoredDtype;
  /** The global shape that the reader's model has, to be held against the checkpoint's. */
  readonly globalShape?: readonly number[];
}

/**
 * Opens a checkpoint.
 *
 * @param path a `--save` folder (its pointer says which iteration), or one `iter_…` folder
 * @throws CheckpointError saying what is missing or damaged, and which iterations can still be loaded.
 */
export function openCheckpoint(path: string, options: OpenOptions = {}): Checkpoint {
  const { root, folder } = locate(resolve(path));
  const check = checkFolder(folder);
  if (check.manifest !== undefined)
    return new Checkpoint(root, folder, check.manifest, options.checksums ?? 'first-read');
  throw new CheckpointError(`the checkpoint ${folder} cannot be loaded: ${check.problem}`, {
    remedy: [check.remedy, loadableWords(root, folder)].filter((words) => words !== undefined).join(' '),
  });
}

/** Finds the folder that `path` means. */
function locate(path: string): { root: string; folder: string } {
  const iteration = iterationOf(basename(path));
  const parent = dirname(path);
  if (existsSync(join(path, manifestName))) return { root: parent, folder: path };
  if (iteration !== undefined) {
    // Also finds a checkpoint whose replacement was cut short.
    const folder = iterationFolders(parent).get(iteration);
    if (folder !== undefined) return { root: parent, folder };
    throw new CheckpointError(`there is no checkpoint ${path}`, { remedy: loadableWords(parent) });
  }
  const kind = statSync(path, { throwIfNoEntry: false });
  if (kind === undefined) {
    throw new CheckpointError(`there is no checkpoint folder ${path}`, {
      remedy: 'Check `--load`: it takes the folder that `--save` wrote, or one iter_ folder in it.',
    });
  }
  if (!kind.isDirectory()) {
    throw new CheckpointError(`${path} is a file, not a checkpoint folder`, {
      remedy: 'Check `--load`: it takes the folder that `--save` wrote, or one iter_ folder in it.',
    });
  }
  let latest: number | undefined;
  try {
    latest = readPointer(path);
  } catch (error) {
    throw new CheckpointError(messageOf(error), { remedy: loadableWords(path), cause: error });
  }
  if (latest === undefined) {
    // A first save that died after its rename and before its pointer: one complete checkpoint, and no doubt which is meant.
    const [only, ...others] = listCheckpoints(path);
    if (only !== undefined && others.length === 0 && only.problem === undefined)
      return { root: path, folder: only.folder };
    throw new CheckpointError(`${path} has no ${pointerName}, so it does not say which checkpoint is the latest`, {
      remedy: loadableWords(path),
    });
  }
  const folder = iterationFolders(path).get(latest);
  if (folder !== undefined) return { root: path, folder };
  throw new CheckpointError(
    `${join(path, pointerName)} names iteration ${latest}, but ${iterationFolderName(latest)} is missing`,
    {
      remedy: loadableWords(path),
    },
  );
}

/** An open checkpoint; `using` closes its files. */
export class Checkpoint implements Disposable {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly #root: string;
  readonly #checksums: 'first-read' | 'skip';
  readonly #tensors: ReadonlyMap<string, TensorRecord>;
  readonly #files = new Map<string, SafetensorsFile>();

  constructor(root: string, folder: string, manifest: Manifest, checksums: 'first-read' | 'skip') {
    this.#root = root;
    this.folder = folder;
    this.manifest = manifest;
    this.#checksums = checksums;
    this.#tensors = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** Global names, sorted. */
  names(): string[] {
    return [...this.#tensors.keys()];
  }

  /** Shape, dtype and slices of a tensor. @throws CheckpointError if the checkpoint has none of this name. */
  tensor(name: string): TensorRecord {
    const tensor = this.#tensors.get(name);
    if (tensor !== undefined) return tensor;
    throw new CheckpointError(`the checkpoint ${this.folder} holds no tensor "${name}"`, {
      remedy: 'It is of another model, or was saved without this part (an optimizer state, say).',
    });
  }

  /**
   * Reads a slice of a global tensor from however many slices it was saved in.
   *
   * @param destination row-major memory of exactly the slice's bytes
   * @throws CheckpointError if dtype or global shape differ, the slice lies outside, or a file is damaged.
   */
  readInto(name: string, request: TensorRequest, destination: Uint8Array): void {
    const tensor = this.tensor(name);
    const { globalShape = tensor.globalShape } = request;
    if (globalShape.join() !== tensor.globalShape.join()) {
      throw new CheckpointError(
        `tensor "${name}" has the shape [${tensor.globalShape.join(', ')}] in the checkpoint and [${globalShape.join(', ')}] in the model`,
        { remedy: 'Give the model the same architecture as the checkpoint has.' },
      );
    }
    if (request.dtype !== tensor.dtype) {
      throw new CheckpointError(
        `tensor "${name}" is ${tensor.dtype} in the checkpoint, but was asked for as ${request.dtype}`,
      );
    }
    if (!isInside(request, tensor.globalShape)) {
      throw new CheckpointError(
        `slice ${sliceWords(request)} lies outside tensor "${name}" of shape [${tensor.globalShape.join(', ')}]`,
      );
    }
    const bytes = elementCount(request.shape) * itemSize(request.dtype);
    if (destination.byteLength !== bytes) {
      throw new CheckpointError(
        `slice ${sliceWords(request)} of "${name}" takes ${bytes} bytes, the destination has ${destination.byteLength}`,
      );
    }
    for (const slice of tensor.slices) this.#readShared(tensor, slice, request, destination);
  }

  /** Reads a whole tensor into new memory; for small ones. */
  read(name: string): Uint8Array {
    const { globalShape, dtype } = this.tensor(name);
    const destination = new Uint8Array(elementCount(globalShape) * itemSize(dtype));
    this.readInto(name, { ...wholeSlice(globalShape), dtype }, destination);
    return destination;
  }

  /** The bytes that were attached under `name`; undefined if none were. @throws CheckpointError if they are damaged. */
  attachment(name: string): Uint8Array | undefined {
    const file = this.manifest.files.find((record) => record.name === name && record.content === 'attachment');
    if (file === undefined) return undefined;
    const content = readFileSync(join(this.folder, name));
    if (createHash('sha256').update(content).digest('hex') !== file.sha256)
      throw this.#damaged(`the content of ${name} does not match its SHA-256`);
    return content;
  }

  /** Reads every file and every header. @throws CheckpointError at the first that is not what was saved. */
  verify(): void {
    const problem = hashProblem(this.folder, this.manifest);
    if (problem !== undefined) throw this.#damaged(problem);
    for (const tensor of this.#tensors.values()) {
      for (const slice of tensor.slices) this.#checkEntry(this.#file(slice.file, 'skip'), tensor, slice);
    }
  }

  #readShared(tensor: TensorRecord, slice: SliceRecord, request: Slice, destination: Uint8Array): void {
    const shared = intersection(slice, request);
    if (shared === undefined) return;
    const file = this.#file(slice.file, this.#checksums);
    this.#checkEntry(file, tensor, slice);
    const relativeTo = (origin: readonly number[]): number[] =>
      shared.offset.map((start, axis) => start - (origin[axis] ?? 0));
    const part = { offset: relativeTo(slice.offset), shape: shared.shape };
    file.readPart(slice.key, part, destination, request.shape, relativeTo(request.offset));
  }

  #file(name: string, checksums: 'first-read' | 'skip'): SafetensorsFile {
    const open = this.#files.get(name);
    if (open !== undefined) return open;
    let file: SafetensorsFile;
    try {
      file = new SafetensorsFile(join(this.folder, name));
    } catch (error) {
      throw this.#damaged(messageOf(error), error);
    }
    const expected = this.manifest.files.find((record) => record.name === name)?.sha256;
    if (checksums === 'first-read' && file.sha256() !== expected) {
      file[Symbol.dispose]();
      throw this.#damaged(`the content of ${name} does not match its SHA-256`);
    }
    this.#files.set(name, file);
    return file;
  }

  /** Holds a file's own header against the manifest. */
  #checkEntry(file: SafetensorsFile, tensor: TensorRecord, slice: SliceRecord): void {
    const entry = file.header.tensors.get(slice.key);
    if (entry?.dtype !== tensor.dtype || entry.shape.join() !== slice.shape.join()) {
      const found = entry === undefined ? 'nothing' : `${entry.dtype} [${entry.shape.join(', ')}]`;
      throw this.#damaged(
        `${slice.file} has ${found} under "${slice.key}", the manifest says ${tensor.dtype} [${slice.shape.join(', ')}]`,
      );
    }
  }

  #damaged(what: string, cause?: unknown): CheckpointError {
    return new CheckpointError(`the checkpoint ${this.folder} is damaged: ${what}`, {
      remedy: loadableWords(this.#root, this.folder),
      ...(cause === undefined ? {} : { cause }),
    });
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file[Symbol.dispose]();
    this.#files.clear();
  }
}
