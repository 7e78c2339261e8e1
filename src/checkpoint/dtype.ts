/** Element types of safetensors files, by the format's own names. */

import { CheckpointError } from '../base/errors.ts';

/** Bytes of one element of each type. Source: the safetensors format, which names them so. */
const itemSizes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;

export type StoredDtype = keyof typeof itemSizes;

export function isStoredDtype(name: unknown): name is StoredDtype {
  return typeof name === 'string' && Object.hasOwn(itemSizes, name);
}

/** Bytes of one element. */
export function itemSize(dtype: StoredDtype): number {
  return itemSizes[dtype];
}

/** Elements of a tensor of `shape`; 1 for a scalar `[]`. @throws CheckpointError beyond 2^53. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  if (!Number.isSafeInteger(count)) throw new CheckpointError(`a tensor of shape [${shape.join(', ')}] is too large`);
  return count;
}

/** True for an array of whole numbers of zero or more: a shape, or an offset. */
export function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
