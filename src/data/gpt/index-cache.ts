/**
 * Keeps sample indices in `.npy` files, so that a run starts at once the second time. Any number of processes may build
 * the same index at the same time: each writes beside and renames, and all write the same bytes.
 */

import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { messageOf } from '../../base/errors.ts';
import { temporaryBeside, writeFileAtomically, writeFully } from '../../base/files.ts';
import { type NpyArray, npyDtypeOf, npyHeader, readNpy } from '../npy.ts';
import { buildSampleIndex, type SampleIndex, type SampleIndexOptions, type SampleIndexPlan } from './sample-index.ts';
import type { SplitName } from './split.ts';

export interface IndexCacheOptions {
  /** Folder of the index files (`--data-cache-path`); default `cache/GPTDataset_indices` beside the data. */
  readonly cachePath?: string | undefined;
  /** Told once where the cache cannot be used as asked, and about damaged files. Default: standard error. */
  readonly warn?: ((message: string) => void) | undefined;
}

/** Everything that decides the indices, and the names they are filed under. */
export interface NamedSampleIndexOptions extends SampleIndexOptions {
  /** Prefix of the data set. */
  readonly dataset: string;
  readonly split: SplitName;
}

/** Raised whenever the same description would give other indices. */
const algorithmVersion = 1;

/** Reads the indices where they are cached and sound, else builds them and tries to keep them. */
export function loadOrBuildSampleIndex(
  options: NamedSampleIndexOptions,
  plan: SampleIndexPlan,
  cache: IndexCacheOptions,
): SampleIndex {
  const warn = cache.warn ?? ((message: string) => process.stderr.write(`warning: ${message}\n`));
  const description = describe(options, plan);
  const name = `${createHash('md5').update(description).digest('hex')}-GPTDataset-${options.split}`;
  const preferred = resolve(cache.cachePath ?? join(dirname(options.dataset), 'cache', 'GPTDataset_indices'));
  const fallback = join(tmpdir(), `megatron-ts-${userName()}`, 'GPTDataset_indices');
  for (const folder of [preferred, fallback]) {
    const found = load(join(folder, name), options, plan, warn);
    if (found !== undefined) return found;
  }
  const built = buildSampleIndex(options, plan);
  try {
    save(join(preferred, name), description, built);
  } catch (error) {
    warn(
      `cannot keep the sample indices in ${preferred} (${messageOf(error)}); keeping them in ${fallback}. ` +
        'Give --data-cache-path a folder that can be written.',
    );
    try {
      save(join(fallback, name), description, built);
    } catch (again) {
      warn(
        `cannot keep the sample indices in ${fallback} either (${messageOf(again)}); they are built anew each time.`,
      );
    }
  }
  return built;
}

/** One JSON text per index: equal texts, equal indices. The lengths' own hash makes it follow the data, not its place. */
function describe(options: NamedSampleIndexOptions, plan: SampleIndexPlan): string {
  const lengths = options.sequenceLengths.subarray(options.range.begin, options.range.end);
  return JSON.stringify(
    {
      class: 'GPTDataset',
      algorithm_version: algorithmVersion,
      dataset: basename(options.dataset),
      index_split: options.split,
      sequences: [options.range.begin, options.range.end],
      sequence_lengths_sha256: hashOf(createHash('sha256'), lengths),
      tokens_per_epoch: plan.tokensPerEpoch,
      num_samples: options.sampleCount ?? null,
      sequence_length: options.sequenceLength,
      random_seed: options.seed,
    },
    null,
    4,
  );
}

/** What `…-description.txt` holds: the description, and what the three files must hash to. */
interface Manifest {
  readonly description: string;
  readonly sha256: Readonly<Record<string, string>>;
}

function load(
  path: string,
  options: NamedSampleIndexOptions,
  plan: SampleIndexPlan,
  warn: (message: string) => void,
): SampleIndex | undefined {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(readFileSync(`${path}-description.txt`, 'utf8')) as Manifest;
  } catch (error) {
    // Nothing there is the usual case; an unreadable description is not worth an error: the index is built anew.
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      warn(`building the sample indices anew: cannot use ${path}-description.txt (${messageOf(error)})`);
    }
    return undefined;
  }
  try {
    const documents = plan.epochs * (options.range.end - options.range.begin);
    const read = <Kind extends NpyArray>(part: string, empty: Kind, shape: readonly number[]): Kind => {
      const array = readNpy(`${path}-${part}.npy`, npyDtypeOf(empty), shape);
      if (hashOf(createHash('sha256'), array) !== manifest.sha256?.[part]) {
        throw new Error(`${path}-${part}.npy is not what was written`);
      }
      return array as Kind;
    };
    return {
      plan,
      documentIndex: read('document_index', new Int32Array(), [documents]),
      sampleIndex: read('sample_index', new Int32Array(), [plan.samples + 1, 2]),
      shuffleIndex: read('shuffle_index', new Uint32Array(), [plan.samples]),
    };
  } catch (error) {
    warn(`building the sample indices anew: ${messageOf(error)}`);
    return undefined;
  }
}

/** The description comes last: who finds it finds the arrays too. */
function save(path: string, description: string, index: SampleIndex): void {
  mkdirSync(dirname(path), { recursive: true });
  const sha256: Record<string, string> = {};
  const write = (part: string, array: NpyArray, shape: readonly number[]) => {
    writeNpyAtomically(`${path}-${part}.npy`, array, shape);
    sha256[part] = hashOf(createHash('sha256'), array);
  };
  write('document_index', index.documentIndex, [index.documentIndex.length]);
  write('sample_index', index.sampleIndex, [index.sampleIndex.length / 2, 2]);
  write('shuffle_index', index.shuffleIndex, [index.shuffleIndex.length]);
  const manifest: Manifest = { description, sha256 };
  writeFileAtomically(`${path}-description.txt`, `${JSON.stringify(manifest, null, 4)}\n`);
}

/** As `writeFileAtomically`, without joining header and data in memory. */
function writeNpyAtomically(path: string, array: NpyArray, shape: readonly number[]): void {
  const temporary = temporaryBeside(path);
  try {
    const handle = openSync(temporary, 'wx');
    try {
      writeFully(handle, npyHeader(npyDtypeOf(array), shape));
      for (const block of blocksOf(array)) writeFully(handle, block);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function hashOf(hash: Hash, array: NpyArray): string {
  for (const block of blocksOf(array)) hash.update(block);
  return hash.digest('hex');
}

/** The bytes of an array in blocks that one system call or hash update takes. */
function* blocksOf(array: NpyArray): Generator<Uint8Array> {
  const blockBytes = 1 << 26;
  for (let offset = 0; offset < array.byteLength; offset += blockBytes) {
    const length = Math.min(blockBytes, array.byteLength - offset);
    yield new Uint8Array(array.buffer, array.byteOffset + offset, length);
  }
}

function userName(): string {
  return String(process.getuid?.() ?? process.env.USERNAME ?? 'user');
}
