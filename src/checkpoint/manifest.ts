/** `manifest.json`: what a checkpoint holds and where, with a checksum of every file and of itself. */

import { createHash } from 'node:crypto';
import { CheckpointError } from '../base/errors.ts';
import { isShape, isStoredDtype, type StoredDtype } from './dtype.ts';
import { assertJson, isJsonObject, type JsonObject } from './json.ts';
import { type Slice, tilingProblem } from './slices.ts';

export const manifestName = 'manifest.json';
export const manifestFormat = 'megatron-ts checkpoint';
export const manifestVersion = 1;

/** Which tokenizer made the model's token ids. */
export interface TokenizerRecord {
  readonly type: string;
  /** SHA-256 (hex) of everything that decides the ids. */
  readonly identity: string;
  readonly vocabSize: number;
}

/** What the caller says about a checkpoint. */
export interface CheckpointMeta {
  readonly consumedSamples: number;
  readonly consumedTokens: number;
  /** The model's architecture; a contradiction on resume is an error. */
  readonly architecture: JsonObject;
  readonly tokenizer: TokenizerRecord | null;
  /** Whatever else training needs to go on exactly where it was: schedules, loss scale, seed, position in the data. */
  readonly trainingState: JsonObject;
}

export interface FileRecord {
  readonly name: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  /** Tensors (a safetensors shard), or bytes that the caller attached, such as the tokenizer's files. */
  readonly content: 'tensors' | 'attachment';
}

/** One slice of a global tensor, and where it lies. */
export interface SliceRecord extends Slice {
  readonly file: string;
  /** The slice's name inside the file. */
  readonly key: string;
}

export interface TensorRecord {
  readonly name: string;
  readonly globalShape: readonly number[];
  readonly dtype: StoredDtype;
  readonly slices: readonly SliceRecord[];
}

export interface Manifest extends CheckpointMeta {
  readonly format: typeof manifestFormat;
  readonly formatVersion: typeof manifestVersion;
  readonly iteration: number;
  /** ISO 8601. */
  readonly savedAt: string;
  readonly files: readonly FileRecord[];
  readonly tensors: readonly TensorRecord[];
}

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

/** Looks at the caller's records before anything is written. @throws CheckpointError if they would not survive JSON. */
export function assertMeta(meta: CheckpointMeta): void {
  assertJson(meta.architecture, 'architecture');
  assertJson(meta.tokenizer, 'tokenizer');
  assertJson(meta.trainingState, 'trainingState');
  for (const key of ['consumedSamples', 'consumedTokens'] as const) {
    if (!Number.isSafeInteger(meta[key]) || meta[key] < 0) {
      throw new CheckpointError(`${key} must be a whole number of zero or more, not ${meta[key]}`);
    }
  }
}

/** The manifest's text, its own checksum last. */
export function encodeManifest(manifest: Manifest): string {
  return `${JSON.stringify({ ...manifest, manifestSha256: digest(manifest) }, null, 1)}\n`;
}

/**
 * Reads a manifest and holds it against its checksum, its format and itself: every tensor covered exactly once by slices in listed files.
 *
 * @throws CheckpointError saying what is wrong.
 */
export function decodeManifest(text: string, path: string): Manifest {
  const broken = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError(`${path} is damaged: ${what}`, cause === undefined ? {} : { cause });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw broken('it is no JSON text', error);
  }
  if (!isJsonObject(parsed) || parsed.format !== manifestFormat) {
    throw new CheckpointError(`${path} is no checkpoint manifest of megatron-ts`);
  }
  // The version is looked at before the checksum: a later format may well count it in another way.
  if (parsed.formatVersion !== manifestVersion) {
    throw new CheckpointError(
      `${path} has the checkpoint format version ${JSON.stringify(parsed.formatVersion)}; this program reads version ${manifestVersion}`,
      { remedy: 'Load it with the version of megatron-ts that wrote it, or update megatron-ts.' },
    );
  }
  const { manifestSha256, ...content } = parsed;
  if (manifestSha256 !== digest(content)) throw broken('its content does not match its checksum');
  const problem = manifestProblem(content);
  if (problem !== undefined) throw broken(problem);
  return content as unknown as Manifest;
}

/** What is wrong with a manifest that was read, so that the type it is given is true. */
function manifestProblem(content: JsonObject): string | undefined {
  for (const key of ['iteration', 'consumedSamples', 'consumedTokens']) {
    if (!Number.isSafeInteger(content[key])) return `"${key}" is no whole number`;
  }
  const { savedAt, architecture, trainingState, tokenizer, files, tensors } = content;
  if (typeof savedAt !== 'string') return '"savedAt" is no text';
  if (!isJsonObject(architecture) || !isJsonObject(trainingState))
    return '"architecture" or "trainingState" is no object';
  if (tokenizer !== null && !isTokenizerRecord(tokenizer)) return '"tokenizer" is incomplete';
  if (!Array.isArray(files) || !Array.isArray(tensors)) return '"files" or "tensors" is no list';
  const shards = new Set<string>();
  for (const file of files) {
    if (!isFileRecord(file)) return `the file record ${JSON.stringify(file)} is incomplete`;
    if (file.content === 'tensors') shards.add(file.name);
  }
  const names = new Set<string>();
  for (const tensor of tensors) {
    if (!isTensorRecord(tensor)) return `the tensor record ${JSON.stringify(tensor).slice(0, 200)} is incomplete`;
    if (names.has(tensor.name)) return `tensor "${tensor.name}" is listed twice`;
    names.add(tensor.name);
    const stray = tensor.slices.find((slice) => !shards.has(slice.file));
    if (stray !== undefined) return `tensor "${tensor.name}" lies in the unlisted file ${stray.file}`;
    const tiling = tilingProblem(tensor.globalShape, tensor.slices);
    if (tiling !== undefined) return `tensor "${tensor.name}": ${tiling}`;
  }
  return undefined;
}

function isTokenizerRecord(value: unknown): value is TokenizerRecord {
  if (!isJsonObject(value)) return false;
  return typeof value.type === 'string' && typeof value.identity === 'string' && typeof value.vocabSize === 'number';
}

/** A plain name in the checkpoint's own folder, never a path out of it. */
export function isFileName(name: unknown): name is string {
  return typeof name === 'string' && /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name);
}

function isFileRecord(value: unknown): value is FileRecord {
  if (!isJsonObject(value)) return false;
  const { name, bytes, sha256, content } = value;
  return (
    isFileName(name) &&
    Number.isSafeInteger(bytes) &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    (content === 'tensors' || content === 'attachment')
  );
}

function isTensorRecord(value: unknown): value is TensorRecord {
  if (!isJsonObject(value)) return false;
  const { name, globalShape, dtype, slices } = value;
  return (
    typeof name === 'string' &&
    isShape(globalShape) &&
    isStoredDtype(dtype) &&
    Array.isArray(slices) &&
    slices.every(isSliceRecord)
  );
}

function isSliceRecord(value: unknown): value is SliceRecord {
  if (!isJsonObject(value)) return false;
  const { file, key, offset, shape } = value;
  return typeof file === 'string' && typeof key === 'string' && isShape(offset) && isShape(shape);
}
