/** Reading what was written, and refusing what is damaged. */

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataError, ShapeError } from '../../base/errors.ts';
import { optimalDtype, type WrittenDtype } from './format.ts';
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

describe('round trip', () => {
  test('any documents, both dtypes', () => {
    let run = 0;
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 0, max: 65499 }), { maxLength: 40 }), { maxLength: 30 }),
        fc.constantFrom<WrittenDtype>('uint16', 'int32'),
        (documents, dtype) => {
          const prefix = join(folder, `pair-${run++}`);
          const summary = write(prefix, documents, dtype);
          using dataset = openIndexedDataset(prefix);
          const sequences = documents.filter((tokens) => tokens.length > 0);
          expect(dataset.dtype).toBe(dtype);
          expect(dataset.documentCount).toBe(documents.length);
          expect(dataset.sequenceCount).toBe(sequences.length);
          expect(summary.tokens).toBe(sequences.flat().length);
          sequences.forEach((tokens, i) => {
            expect([...dataset.readSequence(i)]).toEqual(tokens);
          });
          let sequence = 0;
          const boundaries = [0, ...documents.map((tokens) => (tokens.length > 0 ? ++sequence : sequence))];
          expect([...dataset.documentIndex()]).toEqual(boundaries);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('the bytes are Megatron’s layout', () => {
    const prefix = join(folder, 'pair');
    write(prefix, [[1, 2], [], [3]]);
    expect(readFileSync(`${prefix}.bin`).toString('hex')).toBe('010002000300');
    expect(readFileSync(`${prefix}.idx`).toString('hex')).toBe(
      [
        '4d4d494449445800000100000000000000',
        '08',
        '0200000000000000',
        '0400000000000000',
        '0200000001000000',
        '00000000000000000400000000000000',
        '0000000000000000010000000000000001000000000000000200000000000000',
      ].join(''),
    );
  });

  test('parts of long sequences, across internal reads', () => {
    const prefix = join(folder, 'long');
    const tokens = Array.from({ length: 100_003 }, (_, i) => (i * 7919) % 65500);
    write(prefix, [[5], tokens]);
    using dataset = openIndexedDataset(prefix);
    const target = new Int32Array(50_010).fill(-1);
    dataset.readTokens(1, 40_000, 50_000, target, 7);
    expect([...target.subarray(7, 50_007)]).toEqual(tokens.slice(40_000, 90_000));
    expect([target[6], target[50_007]]).toEqual([-1, -1]);
    expect(() => dataset.readTokens(1, 100_000, 4, target, 0)).toThrow(ShapeError);
    expect(() => dataset.readTokens(0, 0, 1, target, 50_010)).toThrow(ShapeError);
  });

  test('int64 and byte tokens of other writers', () => {
    const prefix = join(folder, 'wide');
    write(prefix, [[1, 2, 3, 4]], 'int32');
    const index = readFileSync(`${prefix}.idx`);
    index[17] = 5;
    index.writeInt32LE(2, 34);
    writeFileSync(`${prefix}.idx`, index);
    writeFileSync(`${prefix}.bin`, new Uint8Array(BigInt64Array.of(70_000n, 3n).buffer));
    using wide = openIndexedDataset(prefix);
    expect([...wide.readSequence(0)]).toEqual([70_000, 3]);
    writeFileSync(`${prefix}.bin`, new Uint8Array(BigInt64Array.of(70_000n, 1n << 40n).buffer));
    using beyond = openIndexedDataset(prefix);
    expect(() => beyond.readSequence(0)).toThrow(/beyond 2147483647/);
  });

  test('the dtype rule', () => {
    expect([65499, 65500].map(optimalDtype)).toEqual(['uint16', 'int32']);
  });

  test('offsets beyond 4 GiB', () => {
    // A sparse file: 2.2 billion two-byte tokens, of which only the last few occupy the disk.
    const prefix = join(folder, 'sparse');
    write(prefix, [[1], [7, 8, 9]]);
    const index = readFileSync(`${prefix}.idx`);
    const first = 2_147_483_647;
    index.writeInt32LE(first, 34);
    const three = Buffer.alloc(4);
    three.writeInt32LE(3);
    // Three sequences: huge, huge, [7, 8, 9].
    const parts = [
      index.subarray(0, 34),
      index.subarray(34, 38),
      index.subarray(34, 38),
      three,
      new Uint8Array(BigInt64Array.of(0n, BigInt(2 * first), BigInt(4 * first)).buffer),
      new Uint8Array(BigInt64Array.of(0n, 1n, 2n, 3n).buffer),
    ];
    const whole = Buffer.concat(parts);
    whole.writeBigUInt64LE(3n, 18);
    whole.writeBigUInt64LE(4n, 26);
    writeFileSync(`${prefix}.idx`, whole);
    truncateSync(`${prefix}.bin`, 4 * first);
    writeFileSync(`${prefix}.bin`, new Uint8Array(Uint16Array.of(7, 8, 9).buffer), { flag: 'a' });
    using dataset = openIndexedDataset(prefix);
    expect([...dataset.readSequence(2)]).toEqual([7, 8, 9]);
    expect(dataset.tokenCount).toBe(2 * first + 3);
  });
});

describe('damage is found and named', () => {
  const pair = () => join(folder, 'pair');
  const edit = (change: (index: Buffer) => Buffer | undefined) => {
    const path = `${pair()}.idx`;
    const index = readFileSync(path);
    writeFileSync(path, change(index) ?? index);
  };
  beforeEach(() => {
    write(pair(), sample);
  });
  const expectError = (words: RegExp) => {
    let thrown: unknown;
    try {
      openIndexedDataset(pair())[Symbol.dispose]();
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(DataError);
    const { message, remedy } = thrown as DataError;
    expect(message).toMatch(words);
    expect(message).toContain(pair());
    expect(remedy).toBeTruthy();
  };

  test.each([
    ['magic', /does not begin with "MMIDIDX"/, (b: Buffer) => b.writeUInt8(0, 0)],
    ['legacy magic', /older cached\/lazy/, (b: Buffer) => b.write('TNTIDX\0\0')],
    ['version', /format version 2/, (b: Buffer) => b.writeUInt8(2, 9)],
    ['unknown dtype', /dtype code 9, which the format does not define/, (b: Buffer) => b.writeUInt8(9, 17)],
    ['float dtype', /dtype code 7 \(float32\)/, (b: Buffer) => b.writeUInt8(7, 17)],
    ['other item size', /offset|starts at byte|has \d+ bytes/, (b: Buffer) => b.writeUInt8(4, 17)],
    ['sequence count', /need 114/, (b: Buffer) => b.writeUInt8(4, 18)],
    ['huge sequence count', /need/, (b: Buffer) => b.writeBigUInt64LE(1n << 60n, 18)],
    ['negative length', /sequence 1 has -1 tokens/, (b: Buffer) => b.writeInt32LE(-1, 38)],
    ['wrong length', /sequence 2 starts at byte 8/, (b: Buffer) => b.writeInt32LE(2, 38)],
    ['wrong offset', /sequence 1 starts at byte 7 of the .bin file, expected 6/, (b: Buffer) => b.writeUInt8(7, 54)],
    ['first document', /document 0 starts at sequence 1/, (b: Buffer) => b.writeUInt8(1, 70)],
    ['document order', /document boundary 2 is 0/, (b: Buffer) => b.writeUInt8(0, 86)],
    ['document beyond', /document boundary 3 is 4/, (b: Buffer) => b.writeUInt8(4, 94)],
    ['cut short', /has 101 bytes/, (b: Buffer) => b.subarray(0, -1)],
    ['cut in the header', /its header alone has 34/, (b: Buffer) => b.subarray(0, 20)],
    ['empty', /does not begin with/, (b: Buffer) => b.subarray(0, 0)],
  ])('%s', (_name, words, change) => {
    edit((index) => {
      const changed = change(index);
      return typeof changed === 'number' ? undefined : changed;
    });
    expectError(words);
  });

  test('a .bin that is too short or too long', () => {
    truncateSync(`${pair()}.bin`, 21);
    expectError(/has 21 bytes, but .* describes 22/);
    truncateSync(`${pair()}.bin`, 24);
    expectError(/has 24 bytes, but .* describes 22/);
  });

  test('a .bin cut while it is open', () => {
    using dataset = openIndexedDataset(pair());
    truncateSync(`${pair()}.bin`, 10);
    expect(() => dataset.readSequence(2)).toThrow(/ends at byte 10/);
  });

  test('missing files, and an ending too many', () => {
    expect(() => openIndexedDataset(join(folder, 'none'))).toThrow(/there is no data set/);
    try {
      openIndexedDataset(`${pair()}.bin`);
      expect.unreachable();
    } catch (error) {
      expect((error as DataError).remedy).toContain(`give ${pair()}.`);
    }
    rmSync(`${pair()}.bin`);
    expectError(/does not exist, although/);
  });
});
