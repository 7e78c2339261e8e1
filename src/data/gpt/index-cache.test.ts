/** The index cache: its files, damage to them, folders that cannot be written, and a crowd of builders. */

import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openIndexedDataset } from '../indexed-dataset/reader.ts';
import { createIndexedDatasetWriter } from '../indexed-dataset/writer.ts';
import { createGptDataset } from './gpt-dataset.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-gpt-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, documents: readonly (readonly number[])[]): string {
  const prefix = join(folder, name);
  using writer = createIndexedDatasetWriter(prefix, 'uint16');
  for (const tokens of documents) {
    writer.append(Uint16Array.from(tokens));
    writer.endSequence();
    writer.endDocument();
  }
  writer.finish();
  return prefix;
}

/** Document d of n tokens is d·100, d·100 + 1, …: every token tells where it is from. */
const countingDocuments = (sizes: readonly number[]) =>
  sizes.map((size, document) => Array.from({ length: size }, (_, i) => document * 100 + i));

describe('the index cache', () => {
  const sequenceLength = 8;
  const options = (prefix: string) => ({
    indexed: openIndexedDataset(prefix),
    split: 'train' as const,
    range: { begin: 0, end: 50 },
    sampleCount: 300,
    sequenceLength,
    seed: 3,
  });
  const documents = countingDocuments(Array.from({ length: 50 }, (_, i) => 3 + (i % 50)));
  const cacheOf = () => join(folder, 'cache', 'GPTDataset_indices');
  const samplesOf = (dataset: { length: number; sample(i: number): { tokens: Int32Array } }) =>
    Array.from({ length: dataset.length }, (_, i) => dataset.sample(i).tokens);

  test('lies beside the data and is used again', () => {
    const prefix = write('pair', documents);
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const first = samplesOf(createGptDataset({ ...options(prefix), warn }));
    const files = readdirSync(cacheOf()).sort();
    expect(files.map((name) => name.replace(/^[0-9a-f]{32}/, 'MD5'))).toEqual([
      'MD5-GPTDataset-train-description.txt',
      'MD5-GPTDataset-train-document_index.npy',
      'MD5-GPTDataset-train-sample_index.npy',
      'MD5-GPTDataset-train-shuffle_index.npy',
    ]);
    const before = files.map((name) => readFileSync(join(cacheOf(), name)));
    expect(samplesOf(createGptDataset({ ...options(prefix), warn }))).toEqual(first);
    expect(files.map((name) => readFileSync(join(cacheOf(), name)))).toEqual(before);
    expect(warnings).toEqual([]);
    // Other lengths under the same name are another index, even at the same total: a data set preprocessed again
    // never meets a stale one.
    write('pair', documents.toReversed());
    createGptDataset({ ...options(prefix), warn });
    expect(readdirSync(cacheOf()).length).toBe(8);
  });

  test('is of a form that NumPy loads', () => {
    createGptDataset(options(write('pair', documents)));
    const name = readdirSync(cacheOf()).find((file) => file.endsWith('sample_index.npy')) ?? '';
    const bytes = readFileSync(join(cacheOf(), name));
    expect(bytes.subarray(0, 8).toString('hex')).toBe('934e554d50590100');
    const headerLength = bytes.readUInt16LE(8);
    expect((10 + headerLength) % 64).toBe(0);
    expect(bytes.toString('latin1', 10, 10 + headerLength).trimEnd()).toMatch(
      /^\{'descr': '<i4', 'fortran_order': False, 'shape': \(\d+, 2\), \}$/,
    );
  });

  test.each([
    ['cut short', (path: string) => truncateSync(path, 100)],
    ['emptied', (path: string) => truncateSync(path, 0)],
    ['longer', (path: string) => writeFileSync(path, 'x', { flag: 'a' })],
    ['deleted', (path: string) => rmSync(path)],
    [
      'changed inside',
      (path: string) => {
        const bytes = readFileSync(path);
        bytes.writeUInt8((bytes.at(-3) ?? 0) ^ 1, bytes.length - 3);
        writeFileSync(path, bytes);
      },
    ],
  ])('a file that is %s is built again', (_name, damage) => {
    const prefix = write('pair', documents);
    const expected = samplesOf(createGptDataset(options(prefix)));
    const files = readdirSync(cacheOf());
    const sound = files.map((name) => readFileSync(join(cacheOf(), name)));
    for (const name of files) {
      damage(join(cacheOf(), name));
      const warnings: string[] = [];
      expect(samplesOf(createGptDataset({ ...options(prefix), warn: (message) => warnings.push(message) }))).toEqual(
        expected,
      );
      expect(files.map((file) => readFileSync(join(cacheOf(), file)))).toEqual(sound);
    }
  });

  test('a folder that cannot be written falls back to the temporary folder, with a warning', () => {
    const prefix = write('pair', documents);
    const blocked = join(folder, 'blocked');
    writeFileSync(blocked, 'a file where the folder should be');
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const previous = process.env.TMPDIR;
    process.env.TMPDIR = join(folder, 'temporary');
    try {
      const dataset = createGptDataset({ ...options(prefix), cachePath: join(blocked, 'cache'), warn });
      expect(dataset.length).toBeGreaterThanOrEqual(300);
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/cannot keep the sample indices in .*blocked.*--data-cache-path/);
      createGptDataset({ ...options(prefix), cachePath: join(blocked, 'cache'), warn });
      // The second time they are found there, and nothing needs saying.
      expect(warnings).toHaveLength(1);
      process.env.TMPDIR = join(blocked, 'temporary');
      warnings.length = 0;
      expect(createGptDataset({ ...options(prefix), cachePath: join(blocked, 'cache'), warn }).length).toBe(
        dataset.length,
      );
      expect(warnings.at(-1)).toMatch(/built anew each time/);
    } finally {
      if (previous === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = previous;
    }
  });

  test('four processes at once agree, and leave a sound cache and no partial files', async () => {
    const prefix = write('pair', countingDocuments(Array.from({ length: 400 }, (_, i) => 3 + (i % 50))));
    const module = (file: string) => JSON.stringify(join(import.meta.dirname, file));
    // Each process builds ten different indices; all start when the folder "go" appears, so that they meet.
    const script = `
      import { createHash } from 'node:crypto';
      import { existsSync } from 'node:fs';
      import { openIndexedDataset } from ${module('../indexed-dataset/reader.ts')};
      import { createGptDataset } from ${module('gpt-dataset.ts')};
      const indexed = openIndexedDataset(${JSON.stringify(prefix)});
      console.log('ready');
      while (!existsSync(${JSON.stringify(join(folder, 'go'))}));
      const hash = createHash('sha256');
      for (let seed = 0; seed < 10; seed++) {
        const dataset = createGptDataset({
          indexed, split: 'train', range: { begin: 0, end: 400 }, sampleCount: 3000, sequenceLength: 8, seed });
        for (let i = 0; i < 50; i++) hash.update(dataset.sample(i).tokens);
      }
      console.log(hash.digest('hex'));`;
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ['--input-type=module', '--eval', script]),
    );
    const outputs = children.map((child) => {
      const output = { text: '', errors: '' };
      child.stdout.on('data', (chunk: Buffer) => {
        output.text += chunk.toString();
      });
      child.stderr.on('data', (chunk: Buffer) => {
        output.errors += chunk.toString();
      });
      return output;
    });
    const ended = children.map((child) => new Promise((resolve) => child.on('close', resolve)));
    await expect.poll(() => outputs.every(({ text }) => text.includes('ready')), { timeout: 30_000 }).toBe(true);
    mkdirSync(join(folder, 'go'));
    await Promise.all(ended);
    const hashes = outputs.map(({ text }) => text.split('\n')[1]);
    expect(outputs.map(({ errors }) => errors)).toEqual(['', '', '', '']);
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(hashes).size).toBe(1);
    expect(readdirSync(cacheOf()).length).toBe(40);
    expect(readdirSync(cacheOf()).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0 || process.platform === 'win32')('a read-only cache is read', () => {
    const prefix = write('pair', documents);
    createGptDataset(options(prefix));
    chmodSync(cacheOf(), 0o500);
    try {
      createGptDataset({ ...options(prefix), warn: () => expect.unreachable() });
    } finally {
      chmodSync(cacheOf(), 0o700);
    }
  });
});
