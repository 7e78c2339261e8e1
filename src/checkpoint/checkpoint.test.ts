/** Saving, opening, listing and retaining checkpoints, and what is said when one is missing or another model's. */

import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CheckpointError, MegatronError } from '../base/errors.ts';
import { beginCheckpoint, commitCheckpoint, writeShard } from './draft.ts';
import { pointerName } from './folders.ts';
import { hasCheckpoint, listCheckpoints } from './list.ts';
import { openCheckpoint } from './open.ts';
import { saveCheckpoint } from './save.ts';
import { assertSample, sampleMeta, sampleTensors, temporaryFolder } from './testing.ts';

function save(folder: string, iteration: number, retain?: number) {
  return saveCheckpoint({ folder, iteration, tensors: sampleTensors(iteration), meta: sampleMeta(iteration), retain });
}

/** The error of `action`, which must be one of ours. */
function failure(action: () => unknown): MegatronError {
  try {
    action();
  } catch (error) {
    if (error instanceof MegatronError) return error;
    throw error;
  }
  throw new Error('no error was thrown');
}

describe('save and open', () => {
  test('gives back tensors, records and attachments; the tree is as documented', () => {
    using folder = temporaryFolder();
    const root = join(folder.path, 'deep', 'save');
    const saved = saveCheckpoint({
      folder: root,
      iteration: 100,
      tensors: sampleTensors(100),
      meta: sampleMeta(100),
      attachments: [{ name: 'tokenizer.json', content: Buffer.from('{}') }],
    });
    expect(saved).toMatchObject({ folder: join(root, 'iter_0000100'), deleted: [], warnings: [] });
    expect(readdirSync(root).sort()).toEqual(['iter_0000100', pointerName]);
    expect(readFileSync(join(root, pointerName), 'utf8')).toBe('100');
    expect(readdirSync(saved.folder).sort()).toEqual([
      'manifest.json',
      'model-00000-of-00001.safetensors',
      'optimizer-00000-of-00001.safetensors',
      'tokenizer.json',
    ]);
    for (const path of [root, saved.folder, `${saved.folder}/`]) {
      using checkpoint = openCheckpoint(path);
      checkpoint.verify();
      assertSample(checkpoint);
      expect(checkpoint.manifest).toMatchObject({ iteration: 100, ...sampleMeta(100) });
      expect(checkpoint.attachment('tokenizer.json')?.toString()).toBe('{}');
      expect(checkpoint.attachment('other')).toBeUndefined();
    }
  });

  test('a tensor of another shape, dtype or name is an error', () => {
    using folder = temporaryFolder();
    save(folder.path, 1);
    using checkpoint = openCheckpoint(folder.path);
    const request = { offset: [0], shape: [8], dtype: 'F32' as const };
    const memory = new Uint8Array(32);
    expect(() => checkpoint.readInto('layers.0.bias', { ...request, globalShape: [9] }, memory)).toThrow(
      'has the shape [8] in the checkpoint and [9] in the model',
    );
    expect(() => checkpoint.readInto('layers.0.bias', { ...request, dtype: 'BF16' }, memory)).toThrow(
      'is F32 in the checkpoint',
    );
    expect(() => checkpoint.readInto('layers.0.bias', { ...request, offset: [1] }, memory)).toThrow(
      '[1:9] lies outside',
    );
    expect(() => checkpoint.readInto('layers.0.bias', request, memory.subarray(1))).toThrow('takes 32 bytes');
    expect(() => checkpoint.readInto('lm_head', request, memory)).toThrow('no tensor "lm_head"');
    expect([checkpoint.has('scale'), checkpoint.has('lm_head')]).toEqual([true, false]);
  });

  test('an existing iteration is replaced, and nothing is left beside it', () => {
    using folder = temporaryFolder();
    save(folder.path, 3);
    const other = saveCheckpoint({
      folder: folder.path,
      iteration: 3,
      tensors: sampleTensors(3),
      meta: { ...sampleMeta(3), trainingState: { second: true } },
    });
    expect(readdirSync(folder.path).sort()).toEqual(['iter_0000003', pointerName]);
    using checkpoint = openCheckpoint(other.folder);
    expect(checkpoint.manifest.trainingState).toEqual({ second: true });
  });

  test('retains the newest loadable ones; newer than the saved and damaged ones are nobody’s business', () => {
    using folder = temporaryFolder();
    for (const iteration of [1, 2, 3, 4, 9]) save(folder.path, iteration);
    writeFileSync(join(folder.path, 'iter_0000003', 'manifest.json'), '{}');
    const saved = save(folder.path, 5, 2);
    expect(saved.deleted).toEqual([1, 2, 3]);
    expect(readdirSync(folder.path).sort()).toEqual(['iter_0000004', 'iter_0000005', 'iter_0000009', pointerName]);
    writeFileSync(join(folder.path, 'iter_0000005', 'manifest.json'), '{}');
    expect(save(folder.path, 6, 2).deleted).toEqual([]);
    expect(
      listCheckpoints(folder.path).map(({ iteration, latest, problem }) => [iteration, latest, problem === undefined]),
    ).toEqual([
      [4, false, true],
      [5, false, false],
      [6, true, true],
      [9, false, true],
    ]);
  });

  test('what cannot be saved is refused before anything is touched', () => {
    using folder = temporaryFolder();
    save(folder.path, 1);
    const tensors = sampleTensors(2);
    const bad = { ...tensors[0], name: 'short', data: () => new Uint8Array(1) } as (typeof tensors)[0];
    const options = { folder: folder.path, iteration: 2, tensors, meta: sampleMeta(2) };
    const attempts: [() => unknown, RegExp][] = [
      [() => saveCheckpoint({ ...options, tensors: [...tensors, bad] }), /but 1 were given/],
      [() => saveCheckpoint({ ...options, tensors: [...tensors, ...tensors.slice(0, 1)] }), /is taken/],
      [() => saveCheckpoint({ ...options, tensors: [{ ...bad, shape: [2, 8] }] }), /1 were given/],
      [() => saveCheckpoint({ ...options, tensors: [{ ...bad, offset: [1, 0] }] }), /lies outside/],
      [() => saveCheckpoint({ ...options, retain: 0 }), /cannot retain 0/],
      [() => saveCheckpoint({ ...options, iteration: -1 }), /iteration -1/],
      [
        () => saveCheckpoint({ ...options, attachments: [{ name: '../x', content: new Uint8Array(1) }] }),
        /name of an attachment/,
      ],
      [
        () =>
          saveCheckpoint({ ...options, meta: { ...options.meta, trainingState: { best: Number.POSITIVE_INFINITY } } }),
        /trainingState.best is Infinity/,
      ],
    ];
    for (const [attempt, message] of attempts) {
      expect(failure(attempt)).toBeInstanceOf(CheckpointError);
      expect(failure(attempt).message).toMatch(message);
      expect(readdirSync(folder.path).sort()).toEqual(['iter_0000001', pointerName]);
    }
    const draft = beginCheckpoint(folder.path, 2);
    const half = { ...bad, globalShape: [8], offset: [0], shape: [4], data: () => new Uint8Array(16) };
    const shard = writeShard(draft, { rank: 0, worldSize: 2 }, [half]);
    expect(() => commitCheckpoint(draft, [shard], { meta: sampleMeta(2) })).toThrow('hold 4 of 8 elements');
    const other = { ...shard, tensors: shard.tensors.map((tensor) => ({ ...tensor, dtype: 'I32' as const })) };
    expect(() => commitCheckpoint(draft, [shard, other], { meta: sampleMeta(2) })).toThrow(
      'is F32 [8] in one slice and I32 [8] in another',
    );
  });

  test('memory shared between threads is written and read like any other', () => {
    using folder = temporaryFolder();
    const shared = new Uint8Array(new SharedArrayBuffer(64), 16, 32).fill(7);
    const tensor = {
      name: 'w',
      globalShape: [4, 2],
      offset: [0, 0],
      shape: [4, 2],
      dtype: 'F32' as const,
      data: () => shared,
    };
    saveCheckpoint({ folder: folder.path, iteration: 1, tensors: [tensor], meta: sampleMeta(1) });
    using checkpoint = openCheckpoint(folder.path);
    const part = new Uint8Array(new SharedArrayBuffer(32), 8, 16);
    checkpoint.readInto('w', { offset: [0, 1], shape: [4, 1], dtype: 'F32' }, part);
    expect([...new Uint8Array(part.buffer)]).toEqual([...Array(8).fill(0), ...Array(16).fill(7), ...Array(8).fill(0)]);
  });

  test('a folder that cannot be made is told with its path', () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'file'), '');
    expect(failure(() => save(join(folder.path, 'file', 'save'), 1)).message).toContain(
      join(folder.path, 'file', 'save'),
    );
  });
});

describe('what is said when a checkpoint cannot be loaded', () => {
  test('names what is missing, what still loads, and the flag', () => {
    using folder = temporaryFolder();
    const root = join(folder.path, 'save');
    expect(failure(() => openCheckpoint(root))).toMatchObject({
      message: `there is no checkpoint folder ${root}`,
      remedy: expect.stringContaining('--load'),
    });
    expect([hasCheckpoint(root), listCheckpoints(root)]).toEqual([false, []]);
    mkdirSync(root);
    expect(failure(() => openCheckpoint(root)).remedy).toBe(`There is no other loadable checkpoint in ${root}.`);
    for (const iteration of [10, 20, 30]) save(root, iteration);
    const words = `Still loadable in ${root}: 10, 20. Load one with \`--load ${join(root, 'iter_0000020')}\`.`;
    rmSync(join(root, 'iter_0000030', 'model-00000-of-00001.safetensors'));
    expect(failure(() => openCheckpoint(root))).toMatchObject({
      message: `the checkpoint ${join(root, 'iter_0000030')} cannot be loaded: model-00000-of-00001.safetensors is missing`,
      remedy: words,
    });
    rmSync(join(root, 'iter_0000030'), { recursive: true });
    expect(failure(() => openCheckpoint(root))).toMatchObject({
      message: `${join(root, pointerName)} names iteration 30, but iter_0000030 is missing`,
      remedy: words,
    });
    expect(failure(() => openCheckpoint(join(root, 'iter_0000030'))).remedy).toBe(words);
    writeFileSync(join(root, pointerName), 'release');
    expect(failure(() => openCheckpoint(root)).message).toContain('holds "release", not an iteration');
    rmSync(join(root, pointerName));
    expect(failure(() => openCheckpoint(root))).toMatchObject({
      message: expect.stringContaining(pointerName),
      remedy: words,
    });
    expect(hasCheckpoint(root)).toBe(true);
    using checkpoint = openCheckpoint(join(root, 'iter_0000010'));
    assertSample(checkpoint);
  });

  test('a later format, a renamed folder and Megatron’s own files are told apart from damage', () => {
    using folder = temporaryFolder();
    const saved = save(folder.path, 1);
    const path = join(saved.folder, 'manifest.json');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replace('"formatVersion": 1', '"formatVersion": 2'));
    expect(failure(() => openCheckpoint(folder.path)).message).toContain(
      'format version 2; this program reads version 1',
    );
    expect(failure(() => openCheckpoint(folder.path)).remedy).toContain('update megatron-ts');
    writeFileSync(path, text);
    cpSync(saved.folder, join(folder.path, 'iter_0000007'), { recursive: true });
    expect(failure(() => openCheckpoint(join(folder.path, 'iter_0000007'))).message).toContain(
      'its manifest is of iteration 1',
    );
    const megatron = join(folder.path, 'iter_0000500');
    mkdirSync(join(megatron, 'mp_rank_00'), { recursive: true });
    expect(failure(() => openCheckpoint(megatron)).message).toContain('written by Megatron-LM itself');
    // A folder may be called anything once it stands alone.
    renameSync(saved.folder, join(folder.path, 'best'));
    using checkpoint = openCheckpoint(join(folder.path, 'best'));
    assertSample(checkpoint);
  });

  test('a damaged shard is seen on the first read, or by verify where reading skips it', () => {
    using folder = temporaryFolder();
    save(folder.path, 1);
    const { folder: damaged } = save(folder.path, 2);
    const path = join(damaged, 'model-00000-of-00001.safetensors');
    const bytes = readFileSync(path);
    bytes[bytes.byteLength - 1] = (bytes[bytes.byteLength - 1] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    using checkpoint = openCheckpoint(folder.path);
    const error = failure(() => checkpoint.read('layers.0.bias'));
    expect(error.message).toContain('the content of model-00000-of-00001.safetensors does not match its SHA-256');
    expect(error.remedy).toContain('iter_0000001');
    checkpoint.read('scale');
    using skipping = openCheckpoint(folder.path, { checksums: 'skip' });
    skipping.read('layers.0.bias');
    expect(() => skipping.verify()).toThrow('does not match its SHA-256');
    expect(listCheckpoints(folder.path).map((item) => item.problem === undefined)).toEqual([true, true]);
    expect(listCheckpoints(folder.path, { hashes: true }).map((item) => item.problem === undefined)).toEqual([
      true,
      false,
    ]);
  });
});
