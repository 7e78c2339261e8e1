/** safetensors files: exact bytes, all the ways a header can be wrong, slices beyond 4 GiB. */

import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../base/errors.ts';
import { SafetensorsFile } from './safetensors-file.ts';
import { writeSafetensors } from './safetensors-write.ts';
import { temporaryFolder } from './testing.ts';

function fileOf(header: unknown, dataBytes: number, padding = ''): Buffer {
  const json = Buffer.from((typeof header === 'string' ? header : JSON.stringify(header)) + padding);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.byteLength));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes, 7)]);
}

describe('writing', () => {
  test('the bytes are those of the format: wide elements first, names in order, data aligned', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'a.safetensors');
    const order: string[] = [];
    const tensor = (name: string, dtype: 'F32' | 'U8' | 'I64', shape: number[], bytes: number[]) => ({
      name,
      dtype,
      shape,
      data: () => {
        order.push(name);
        return Uint8Array.from(bytes);
      },
    });
    const written = writeSafetensors(
      path,
      [
        tensor('bytes', 'U8', [3], [1, 2, 3]),
        tensor('é', 'F32', [], [4, 5, 6, 7]),
        tensor('b', 'F32', [1, 1], [8, 9, 10, 11]),
        tensor('none', 'I64', [0, 5], []),
      ],
      { note: 'x' },
    );
    const bytes = readFileSync(path);
    const header =
      '{"__metadata__":{"note":"x"},"none":{"dtype":"I64","shape":[0,5],"data_offsets":[0,0]},' +
      '"b":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"é":{"dtype":"F32","shape":[],"data_offsets":[4,8]},' +
      '"bytes":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}';
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    expect(
      bytes
        .subarray(8, 8 + length)
        .toString()
        .trimEnd(),
    ).toBe(header);
    expect([...bytes.subarray(8 + length)]).toEqual([8, 9, 10, 11, 4, 5, 6, 7, 1, 2, 3]);
    expect(order).toEqual(['none', 'b', 'é', 'bytes']);
    expect(written).toEqual({ bytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') });
    using file = new SafetensorsFile(path);
    expect(file.header.metadata).toEqual({ note: 'x' });
    expect(file.sha256()).toBe(written.sha256);
    const scalar = new Uint8Array(4);
    file.readInto('é', { offset: [], shape: [] }, scalar);
    expect([...scalar]).toEqual([4, 5, 6, 7]);
  });

  test('a tensor that does not fill its shape, and a name used twice, are refused', () => {
    using folder = temporaryFolder();
    const one = { name: 'w', dtype: 'F32' as const, shape: [2], data: () => new Uint8Array(7) };
    expect(() => writeSafetensors(join(folder.path, 'a'), [one])).toThrow('takes 8 bytes, but 7 were given');
    expect(() => writeSafetensors(join(folder.path, 'b'), [one, { ...one, dtype: 'F64' }])).toThrow('"w" is taken');
    expect(() => writeSafetensors(join(folder.path, 'c'), [{ ...one, name: '__metadata__' }])).toThrow('is taken');
  });
});

describe('reading', () => {
  const good = { w: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } };
  const cases: [string, Buffer, RegExp][] = [
    ['an empty file', Buffer.alloc(0), /it has 0 bytes/],
    [
      'a length beyond the file',
      Buffer.concat([Buffer.from([255, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(20)]),
      /a header of 255 bytes/,
    ],
    ['a length of 2^63', Buffer.concat([Buffer.alloc(7), Buffer.from([128]), Buffer.alloc(9)]), /announce a header/],
    ['no JSON', fileOf('{"w":', 0), /no JSON text/],
    ['no UTF-8', Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([0xff])]), /no JSON text/],
    ['a list', fileOf('[]', 0), /no JSON object/],
    ['an unknown dtype', fileOf({ w: { ...good.w, dtype: 'F33' } }, 8), /unknown dtype "F33"/],
    ['a dtype of the prototype', fileOf({ w: { ...good.w, dtype: 'toString' } }, 8), /unknown dtype/],
    ['a negative size', fileOf({ w: { ...good.w, shape: [-2] } }, 8), /the shape \[-2\]/],
    ['a fractional size', fileOf({ w: { ...good.w, shape: [1.5] } }, 8), /the shape/],
    ['a size beyond 2^53', fileOf({ w: { ...good.w, shape: [2 ** 40, 2 ** 40] } }, 8), /too large/],
    ['one offset', fileOf({ w: { ...good.w, data_offsets: [0] } }, 8), /the offsets \[0\]/],
    [
      'offsets that contradict the shape',
      fileOf({ w: { ...good.w, data_offsets: [0, 4] } }, 4),
      /takes 8 bytes, its offsets say 4/,
    ],
    ['a hole', fileOf({ w: { ...good.w, data_offsets: [4, 12] } }, 12), /begins at byte 4, not at 0/],
    ['an overlap', fileOf({ ...good, v: { ...good.w, data_offsets: [4, 12] } }, 12), /begins at byte 4, not at 8/],
    ['truncated data', fileOf(good, 7), /describes \d+ bytes, the file has/],
    ['bytes after the data', fileOf(good, 9), /describes \d+ bytes, the file has/],
    ['metadata that is no text', fileOf({ __metadata__: { a: 1 }, ...good }, 8), /metadata "a"/],
  ];
  test.each(cases)('%s is refused', (_, bytes, message) => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'bad.safetensors');
    writeFileSync(path, bytes);
    expect(() => new SafetensorsFile(path)).toThrow(message);
    expect(() => new SafetensorsFile(path)).toThrow(CheckpointError);
  });

  test('padding after the header is fine, and a name that an object would lose is found', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'good.safetensors');
    writeFileSync(path, fileOf('{"__proto__":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8, '   '));
    using file = new SafetensorsFile(path);
    expect([...file.header.tensors.keys()]).toEqual(['__proto__']);
    expect(() => file.readInto('__proto__', { offset: [1], shape: [2] }, new Uint8Array(8))).toThrow(
      '[1:3] lies outside',
    );
    expect(() => file.readInto('__proto__', { offset: [0], shape: [2] }, new Uint8Array(7))).toThrow('takes 8 bytes');
    expect(() => file.readInto('x', { offset: [], shape: [] }, new Uint8Array(0))).toThrow('no tensor "x"');
    expect(() => new SafetensorsFile(join(folder.path, 'missing'))).toThrow(CheckpointError);
  });

  test('offsets beyond 4 GiB are exact', () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'large.safetensors');
    // A sparse file: it takes no room on the disk.
    const [rows, columns] = [5 * 2 ** 10, 2 ** 20];
    const head = fileOf({ w: { dtype: 'U8', shape: [rows, columns], data_offsets: [0, rows * columns] } }, 0);
    const handle = openSync(path, 'w');
    writeSync(handle, head);
    ftruncateSync(handle, head.byteLength + rows * columns);
    writeSync(handle, Uint8Array.from([1, 2, 3]), 0, 3, head.byteLength + 5000 * columns + 77);
    writeSync(handle, Uint8Array.from([9]), 0, 1, head.byteLength + rows * columns - 1);
    closeSync(handle);
    using file = new SafetensorsFile(path);
    const part = new Uint8Array(8);
    file.readInto('w', { offset: [4999, 76], shape: [2, 4] }, part);
    expect([...part]).toEqual([0, 0, 0, 0, 0, 1, 2, 3]);
    const last = new Uint8Array(1);
    file.readInto('w', { offset: [rows - 1, columns - 1], shape: [1, 1] }, last);
    expect([...last]).toEqual([9]);
  });
});
