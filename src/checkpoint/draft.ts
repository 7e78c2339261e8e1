/**
 * The three steps of a save, for any number of ranks: one begins, all write their shards, one commits.
 *
 * Everything is written into a hidden folder beside, synced and renamed; the pointer moves last; old checkpoints go only after that.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../base/errors.ts';
import { fileError, syncFolder, writeFileAtomically } from '../base/files.ts';
import type { StoredDtype } from './dtype.ts';
import { cleanUp, hiddenFolderName, iterationFolderName, moveIntoPlace, pointerName } from './folders.ts';
import {
  assertMeta,
  type CheckpointMeta,
  encodeManifest,
  type FileRecord,
  isFileName,
  type Manifest,
  manifestFormat,
  manifestName,
  manifestVersion,
  type SliceRecord,
  type TensorRecord,
} from './manifest.ts';
import { attempt, checkRetain, deleteOlder } from './retention.ts';
import { writeHashed, writeSafetensors } from './safetensors-write.ts';
import { isInside, isWhole, type Slice, sliceWords, tilingProblem } from './slices.ts';

/** A slice of a global tensor to save. */
export interface CheckpointTensor extends Slice {
  /** The tensor's global name, the same in every layout. */
  readonly name: string;
  readonly globalShape: readonly number[];
  readonly dtype: StoredDtype;
  /** Which shard it goes to; default `model`. */
  readonly kind?: 'model' | 'optimizer';
  /** The slice's bytes, row-major and little-endian; called late, one tensor at a time, and not kept. */
  data(): Uint8Array;
}

/** Bytes to keep with a checkpoint, such as the tokenizer's files. */
export interface Attachment {
  readonly name: string;
  readonly content: Uint8Array;
}

/** A checkpoint being written. Plain data: rank 0 begins it and sends it to the others. */
export interface CheckpointDraft {
  readonly root: string;
  readonly iteration: number;
  /** The hidden folder that all ranks write into. */
  readonly folder: string;
}

/** What one rank wrote. Plain data: every rank sends it to the one that commits. */
export interface ShardRecord {
  readonly files: readonly FileRecord[];
  /** Each tensor with the slices that this rank wrote. */
  readonly tensors: readonly TensorRecord[];
}

export interface SavedCheckpoint {
  readonly folder: string;
  readonly bytes: number;
  /** Iterations that were deleted because newer ones are retained. */
  readonly deleted: readonly number[];
  /** What went wrong after the checkpoint was safe (an old one could not be deleted, say); worth a line in the log. */
  readonly warnings: readonly string[];
}

export interface CommitOptions {
  readonly meta: CheckpointMeta;
  readonly attachments?: readonly Attachment[];
  /** How many checkpoints to keep, this one included; all if undefined. */
  readonly retain?: number | undefined;
}

/** First step, on one rank: clears away what dead runs left, and makes the hidden folder. */
export function beginCheckpoint(root: string, iteration: number): CheckpointDraft {
  if (!Number.isSafeInteger(iteration) || iteration < 0) {
    throw new CheckpointError(
      `cannot save a checkpoint of iteration ${iteration}: it must be a whole number of zero or more`,
    );
  }
  const folder = join(root, hiddenFolderName(iteration, 'partial'));
  try {
    mkdirSync(root, { recursive: true });
    cleanUp(root);
    mkdirSync(folder);
  } catch (error) {
    throw fileError(`cannot save a checkpoint in ${root}`, error);
  }
  return { root, iteration, folder };
}

/** Second step, on every rank: writes its slices into files of its own. */
export function writeShard(
  draft: CheckpointDraft,
  place: { readonly rank: number; readonly worldSize: number },
  tensors: Iterable<CheckpointTensor>,
): ShardRecord {
  const files: FileRecord[] = [];
  const records: TensorRecord[] = [];
  const five = (value: number): string => String(value).padStart(5, '0');
  const byKind = Map.groupBy(tensors, (tensor) => tensor.kind ?? 'model');
  for (const [kind, group] of byKind) {
    const file = `${kind}-${five(place.rank)}-of-${five(place.worldSize)}.safetensors`;
    const named = group.map((tensor) => ({ tensor, key: keyOf(tensor) }));
    const written = writeSafetensors(
      join(draft.folder, file),
      named.map(({ tensor, key }) => ({
        name: key,
        dtype: tensor.dtype,
        shape: tensor.shape,
        data: () => tensor.data(),
      })),
      { writer: 'megatron-ts', iteration: String(draft.iteration) },
    );
    files.push({ name: file, ...written, content: 'tensors' });
    for (const { tensor, key } of named) {
      const slice: SliceRecord = { file, key, offset: [...tensor.offset], shape: [...tensor.shape] };
      records.push({ name: tensor.name, globalShape: [...tensor.globalShape], dtype: tensor.dtype, slices: [slice] });
    }
  }
  return { files, tensors: records };
}

/** A whole tensor keeps its name, so that other readers find it; a slice says which one it is. */
function keyOf(tensor: CheckpointTensor): string {
  if (!isInside(tensor, tensor.globalShape)) {
    throw new CheckpointError(
      `slice ${sliceWords(tensor)} lies outside tensor "${tensor.name}" of shape [${tensor.globalShape.join(', ')}]`,
    );
  }
  return isWhole(tensor, tensor.globalShape) ? tensor.name : `${tensor.name}${sliceWords(tensor)}`;
}

/** Last step, on one rank, when every rank has written: manifest, rename, pointer, and only then the old checkpoints. */
export function commitCheckpoint(
  draft: CheckpointDraft,
  shards: readonly ShardRecord[],
  options: CommitOptions,
): SavedCheckpoint {
  checkRetain(options.retain);
  assertMeta(options.meta);
  const { root, iteration, folder } = draft;
  const files = shards.flatMap((shard) => shard.files);
  for (const { name, content } of options.attachments ?? []) {
    if (!isFileName(name) || name === manifestName || files.some((file) => file.name === name)) {
      throw new CheckpointError(`"${name}" cannot be the name of an attachment`);
    }
    files.push({ name, ...writeHashed(join(folder, name), () => [content]), content: 'attachment' });
  }
  const manifest: Manifest = {
    format: manifestFormat,
    formatVersion: manifestVersion,
    iteration,
    consumedSamples: options.meta.consumedSamples,
    consumedTokens: options.meta.consumedTokens,
    savedAt: new Date().toISOString(),
    architecture: options.meta.architecture,
    tokenizer: options.meta.tokenizer,
    trainingState: options.meta.trainingState,
    files,
    tensors: mergeTensors(shards),
  };
  const written = writeHashed(join(folder, manifestName), () => [Buffer.from(encodeManifest(manifest))]);
  let replaced: string | undefined;
  try {
    syncFolder(folder);
    replaced = moveIntoPlace(root, folder, iteration);
    writeFileAtomically(join(root, pointerName), String(iteration));
  } catch (error) {
    throw fileError(`cannot finish the checkpoint of iteration ${iteration} in ${root}`, error);
  }
  const warnings: string[] = [];
  if (replaced !== undefined) attempt(warnings, () => rmSync(replaced, { recursive: true, force: true }));
  const deleted = options.retain === undefined ? [] : deleteOlder(root, iteration, options.retain, warnings);
  const bytes = files.reduce((sum, file) => sum + file.bytes, written.bytes);
  return { folder: join(root, iterationFolderName(iteration)), bytes, deleted, warnings };
}

/** Removes a draft that will not be committed. */
export function abandonCheckpoint(draft: CheckpointDraft): void {
  try {
    rmSync(draft.folder, { recursive: true, force: true });
  } catch {
    // The error that made the caller give up is the one to report; the next save clears the folder away.
  }
}

/** All ranks' slices by tensor. @throws CheckpointError where ranks disagree, or slices do not cover a tensor exactly once. */
function mergeTensors(shards: readonly ShardRecord[]): TensorRecord[] {
  const merged = new Map<string, TensorRecord & { slices: SliceRecord[] }>();
  for (const tensor of shards.flatMap((shard) => shard.tensors)) {
    const known = merged.get(tensor.name);
    if (known === undefined) {
      merged.set(tensor.name, { ...tensor, slices: [...tensor.slices] });
      continue;
    }
    if (known.dtype !== tensor.dtype || known.globalShape.join() !== tensor.globalShape.join()) {
      throw new CheckpointError(
        `tensor "${tensor.name}" is ${known.dtype} [${known.globalShape.join(', ')}] in one slice and ${tensor.dtype} [${tensor.globalShape.join(', ')}] in another`,
      );
    }
    known.slices.push(...tensor.slices);
  }
  for (const { name, globalShape, slices } of merged.values()) {
    const problem = tilingProblem(globalShape, slices);
    if (problem !== undefined) throw new CheckpointError(`cannot save tensor "${name}": ${problem}`);
  }
  return [...merged.values()].sort((first, second) => (first.name < second.name ? -1 : 1));
}
