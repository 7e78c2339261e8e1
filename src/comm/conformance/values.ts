/** Numbers that every rank can make for every other, so that each knows what a collective must give. */

import { isHalf, viewAs } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { decodeHalves, encodeHalves } from '../../tensor/halves.ts';
import { Tensor, type TensorOptions } from '../../tensor/tensor.ts';
import type { ReduceOperation } from '../communicator.ts';

export const conformanceTypes = ['f32', 'bf16', 'f16', 'i32'] as const;
export type ConformanceType = (typeof conformanceTypes)[number];

/** Bytes that a test compares, and the words it fails with. */
export function expectThat(condition: boolean, words: () => string): asserts condition {
  if (!condition) throw new Error(`communicator conformance: ${words()}`);
}

/** The error that `body` throws. */
export function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('communicator conformance: an error was expected, and none came');
}

/** A well mixed 32-bit number of four inputs (the finalizer of MurmurHash3). */
function mix(rank: number, index: number, salt: number): number {
  let h = Math.imul(rank + 1, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca77) ^ Math.imul(salt + 1, 0xc2b2ae3d);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const half = new Uint16Array(1);
const float = new Float32Array(1);

/** A number as a tensor of this type stores it: 16-bit floats as their bits, to the nearest, ties to even. */
function toStored(dtype: ConformanceType, value: number): number {
  if (!isHalf(dtype)) return value;
  encodeHalves([value], dtype, half);
  return half[0] as number;
}

/** The number that `toStored` made from. */
function fromStored(dtype: ConformanceType, stored: number): number {
  if (!isHalf(dtype)) return stored;
  half[0] = stored;
  decodeHalves(half, dtype, float);
  return float[0] as number;
}

const powers = Array.from({ length: 20 }, (_, i) => 2 ** (i - 10));

/**
 * Element `index` of rank `rank`'s tensor, as the tensor stores it. Floats spread over 20 powers of two, so that sums in
 * another order have other bits.
 */
export function storedValue(dtype: ConformanceType, rank: number, index: number, salt: number): number {
  const h = mix(rank, index, salt);
  if (dtype === 'i32') return h >> 4;
  const value = Math.fround(((h >>> 8) / 2 ** 24 - 0.5) * (powers[h % 20] as number));
  return toStored(dtype, value);
}

/** This rank's tensor. */
export function makeTensor(
  engine: Engine,
  dtype: ConformanceType,
  rank: number,
  size: number,
  salt: number,
  options: TensorOptions = {},
): Tensor {
  const tensor = Tensor.empty(engine, [size], { ...options, dtype });
  tensor.writeBytes((bytes) => {
    const data = viewAs(dtype, bytes.buffer as ArrayBuffer, bytes.byteOffset, size);
    for (let i = 0; i < size; i++) data[i] = storedValue(dtype, rank, i, salt);
  });
  return tensor;
}

/** What element `index` must be after a reduction over the ranks, added up one after the other in their order. */
export function reducedValue(
  dtype: ConformanceType,
  operation: ReduceOperation,
  ranks: readonly number[],
  index: number,
  salt: number,
): number {
  let result = 0;
  for (const [i, rank] of ranks.entries()) {
    const value = fromStored(dtype, storedValue(dtype, rank, index, salt));
    if (i === 0) result = value;
    else if (operation === 'max') result = Math.max(result, value);
    else result = dtype === 'i32' ? (result + value) | 0 : Math.fround(result + value);
  }
  return toStored(dtype, result);
}

/** Compares elements: all of short tensors, the ends and every 97th of long ones. */
export function expectElements(
  tensor: Tensor,
  expected: (index: number) => number,
  words: () => string,
  from = 0,
  to = tensor.size,
): void {
  const data = tensor.read();
  const step = to - from > 5000 ? 97 : 1;
  const check = (i: number): void => {
    const wanted = expected(i - from);
    const found = data[i] as number;
    expectThat(
      Object.is(found, wanted) || found === wanted,
      () => `${words()}: element ${i} is ${found}, not ${wanted}`,
    );
  };
  for (let i = from; i < to; i += step) check(i);
  for (let i = Math.max(from, to - 70); i < to; i++) check(i);
}

/** A number that any changed bit changes. */
export function fingerprint(tensor: Tensor): number {
  let hash = 0x811c9dc5;
  const { buffer, byteOffset, byteLength } = tensor.read();
  const halves = new Uint16Array(buffer as ArrayBuffer, byteOffset, byteLength / 2);
  for (let i = 0; i < halves.length; i++) hash = Math.imul(hash ^ (halves[i] as number), 0x01000193);
  return hash >>> 0;
}

export const ranksOf = (size: number): number[] => Array.from({ length: size }, (_, rank) => rank);
