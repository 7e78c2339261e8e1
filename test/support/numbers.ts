/** Numbers for tests as a function of (key, index): the Python scripts of bench/peers make the same ones, bit for bit. */

import { type Shape, sizeOf } from '../../src/tensor/shape.ts';

/** A well-mixed 32-bit word (the integer hash "triple32" of C. Wellons). `uniform_words` in torch_fixture.py is its twin. */
export function word(key: number, index: number): number {
  let x = (Math.imul(index, 0x9e3779b1) + Math.imul(key, 0x85ebca77)) >>> 0;
  x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb) >>> 0;
  x = Math.imul(x ^ (x >>> 11), 0xac4c1b51) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x31848bab) >>> 0;
  return (x ^ (x >>> 14)) >>> 0;
}

export interface NumberSpec {
  readonly shape: Shape;
  readonly key: number;
  /** Numbers are uniform in offset ± scale. */
  readonly scale?: number;
  readonly offset?: number;
}

/** Float32 numbers (as doubles, so that every engine sees the same ones), uniform in offset ± scale. */
export function numbers({ shape, key, scale = 1, offset = 0 }: NumberSpec): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, i) => Math.fround(offset + scale * (word(key, i) / 2 ** 31 - 1)));
}

/** Whole numbers in [0, below). */
export function integers(count: number, key: number, below: number): number[] {
  return Array.from({ length: count }, (_, i) => word(key, i) % below);
}

/** Little-endian float32 numbers from base64, as the fixtures keep them. */
export function decodeFloats(base64: string): number[] {
  const bytes = Buffer.from(base64, 'base64');
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
}
