/** NumPy's `.npy` files (format 1.0) for the few dtypes of index files: NumPy reads what we write, and we what it writes. */

import { closeSync, fstatSync, openSync } from 'node:fs';
import { DataError } from '../base/errors.ts';
import { fileError, readFully } from '../base/files.ts';

/** Typed arrays that index files hold. */
export type NpyArray = Int16Array | Int32Array | Uint32Array | Float64Array;

export type NpyDtype = '<i2' | '<i4' | '<u4' | '<f8';

const magic = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]);
/** Header bytes of a C-ordered array; its length is a multiple of 64, so that the data can be mapped aligned. */
export function npyHeader(dtype: NpyDtype, shape: readonly number[]): Buffer {
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': (${dimensions}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = Buffer.alloc(length, 0x20);
  magic.copy(header);
  header[6] = 1;
  header[7] = 0;
  header.writeUInt16LE(length - 10, 8);
  header.write(text, 10, 'latin1');
  header[length - 1] = 0x0a;
  return header;
}

export function npyDtypeOf(array: NpyArray): NpyDtype {
  if (array instanceof Int16Array) return '<i2';
  if (array instanceof Int32Array) return '<i4';
  if (array instanceof Uint32Array) return '<u4';
  return '<f8';
}

function allocate(dtype: NpyDtype, length: number): NpyArray {
  switch (dtype) {
    case '<i2':
      return new Int16Array(length);
    case '<i4':
      return new Int32Array(length);
    case '<u4':
      return new Uint32Array(length);
    case '<f8':
      return new Float64Array(length);
  }
}

/**
 * Reads an array whose dtype and shape are known.
 *
 * @returns the elements in C order.
 * @throws DataError where the file is not a `.npy` file, is of another dtype or shape, or is cut short.
 */
export function readNpy(path: string, dtype: NpyDtype, shape: readonly number[]): NpyArray {
  let handle: number;
  try {
    handle = openSync(path, 'r');
  } catch (error) {
    throw fileError(`cannot read ${path}`, error);
  }
  const ended = (at: number): Error => damaged(path, `it ends after ${at} bytes`);
  try {
    const expected = npyHeader(dtype, shape);
    const count = shape.reduce((product, size) => product * size, 1);
    const prefix = Buffer.alloc(10);
    readFully(handle, prefix, 0, ended);
    if (prefix.compare(magic, 0, 6, 0, 6) !== 0 || prefix[6] !== 1) throw damaged(path, 'it is not a .npy 1.0 file');
    const headerLength = prefix.readUInt16LE(8);
    const header = Buffer.alloc(headerLength);
    readFully(handle, header, 10, ended);
    // Compare without padding: other writers pad to 16 or 64 bytes.
    const found = header.toString('latin1').trimEnd();
    const wanted = expected.toString('latin1', 10).trimEnd();
    if (found !== wanted) throw damaged(path, `its header is ${found} where ${wanted} was expected`);
    const array = allocate(dtype, count);
    const bytes = 10 + headerLength + array.byteLength;
    const size = fstatSync(handle).size;
    if (size !== bytes) throw damaged(path, `it has ${size} bytes where ${bytes} were expected`);
    readFully(handle, new Uint8Array(array.buffer), 10 + headerLength, ended);
    return array;
  } finally {
    closeSync(handle);
  }
}

function damaged(path: string, what: string): DataError {
  return new DataError(`${path} is damaged: ${what}`, { remedy: 'Delete the file; it will be built again.' });
}
