/** A writer that fails or is given up leaves what existed. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MegatronError, ShapeError } from '../../base/errors.ts';
import type { WrittenDtype } from './format.ts';
import { openIndexedDataset } from './reader.ts';
import { createIndexedDatasetWriter } from './writer.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-indexed-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** One document per entry, one sequence per document; an empty entry is a document without a sequence. */
function write(prefix: string, documents: readonly (readonly number[])[], dtype: WrittenDtype = 'uint16') {
  using writer = createIndexedDatasetWriter(prefix, dtype);
  for (const tokens of documents) {
    if (tokens.length > 0) {
      const half = tokens.length >> 1;
      const stored = dtype === 'uint16' ? Uint16Array.from(tokens) : Int32Array.from(tokens);
      writer.append(stored.subarray(0, half));
      writer.append(stored.subarray(half));
      writer.endSequence();
    }
    writer.endDocument();
  }
  return writer.finish();
}

const sample = [[1, 2, 3], [65499], [4, 5, 6, 7, 8, 9, 10]];

describe('a writer that does not finish', () => {
  test('leaves the old pair and nothing else', () => {
    const prefix = join(folder, 'pair');
    write(prefix, sample);
    const before = readFileSync(`${prefix}.bin`);
    {
      using writer = createIndexedDatasetWriter(prefix, 'uint16');
      writer.append(Uint16Array.of(9, 9));
      writer.endSequence();
    }
    expect(readFileSync(`${prefix}.bin`)).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(['pair.bin', 'pair.idx']);
    using dataset = openIndexedDataset(prefix);
    expect(dataset.sequenceCount).toBe(3);
  });

  test('replaces both or none', () => {
    const prefix = join(folder, 'pair');
    write(prefix, sample);
    const before = readFileSync(`${prefix}.bin`);
    const writer = createIndexedDatasetWriter(prefix, 'uint16');
    writer.append(Uint16Array.of(9, 9));
    writer.endSequence();
    writer.endDocument();
    // The rename of the index fails: a folder has taken its place meanwhile.
    rmSync(`${prefix}.idx`);
    mkdirSync(join(`${prefix}.idx`, 'inside'), { recursive: true });
    expect(() => writer.finish()).toThrow(MegatronError);
    expect(readFileSync(`${prefix}.bin`)).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(['pair.bin', 'pair.idx']);
    expect(() => createIndexedDatasetWriter(prefix, 'uint16')).toThrow(/it is a folder/);
  });

  test('replaces a pair that exists', () => {
    const prefix = join(folder, 'pair');
    write(prefix, sample);
    write(prefix, [[42]]);
    using dataset = openIndexedDataset(prefix);
    expect([...dataset.readSequence(0)]).toEqual([42]);
    expect(readdirSync(folder).sort()).toEqual(['pair.bin', 'pair.idx']);
  });

  test('refuses tokens of another width and documents that end inside a sequence', () => {
    using writer = createIndexedDatasetWriter(join(folder, 'pair'), 'uint16');
    expect(() => writer.append(Int32Array.of(1))).toThrow(ShapeError);
    writer.append(Uint16Array.of(1));
    expect(() => writer.endDocument()).toThrow(/ends inside a sequence/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

/** A limit on the size of files stands for the full disk: the system call fails in the same place. */
test.skipIf(process.platform === 'win32')('no room for the data is an error that leaves the old pair as it was', () => {
  const prefix = join(folder, 'pair');
  write(prefix, sample);
  const before = [readFileSync(`${prefix}.bin`), readFileSync(`${prefix}.idx`)];
  const script = `
    import { createIndexedDatasetWriter } from ${JSON.stringify(join(import.meta.dirname, 'writer.ts'))};
    try {
      const writer = createIndexedDatasetWriter(${JSON.stringify(prefix)}, 'uint16');
      for (let i = 0; i < 4; i++) writer.append(new Uint16Array(1 << 20));
      console.log('no error');
    } catch (error) {
      console.log(error.constructor.name, error.message);
    }`;
  const output = execFileSync(
    'sh',
    [
      '-c',
      'trap "" XFSZ; ulimit -f 1024; exec "$0" --input-type=module-typescript --eval "$1"',
      process.execPath,
      script,
    ],
    { encoding: 'utf8' },
  );
  expect(output).toMatch(/^MegatronError cannot write .*pair\.bin: EFBIG/);
  expect([readFileSync(`${prefix}.bin`), readFileSync(`${prefix}.idx`)]).toEqual(before);
  expect(readdirSync(folder).sort()).toEqual(['pair.bin', 'pair.idx']);
});
