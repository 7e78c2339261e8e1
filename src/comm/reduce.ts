/** Reductions of plain arrays in TypeScript: short tensors of every engine, all tensors of the reference engine. */

import type { TensorData } from '../tensor/dtype.ts';
import type { ReducibleType } from './arguments.ts';
import type { ReduceOperation } from './communicator.ts';

/** max that keeps a NaN, so that a diverged rank is seen by all. */
const larger = (a: number, b: number): number => (b > a || Number.isNaN(b) ? b : a);

/**
 * output = the sum or maximum of the sources, one after the other in their order; an output may be one of the sources.
 * Each step rounds to the element type, sums of bf16 to float32 and once to bf16 at the end.
 */
export function reduceArrays(
  sources: readonly TensorData[],
  output: TensorData,
  count: number,
  dtype: ReducibleType,
  operation: ReduceOperation,
): void {
  if (dtype === 'bf16') {
    reduceBfloat16(sources, output, count, operation);
    return;
  }
  const isSum = operation === 'sum';
  // a typed array of one element rounds as the output does
  const rounded = dtype === 'f32' ? Math.fround : dtype === 'i32' ? (x: number) => x | 0 : (x: number) => x;
  for (let i = 0; i < count; i++) {
    let result = sources[0]?.[i] as number;
    for (let s = 1; s < sources.length; s++) {
      const value = sources[s]?.[i] as number;
      result = isSum ? rounded(result + value) : larger(result, value);
    }
    output[i] = result;
  }
}

function reduceBfloat16(
  sources: readonly TensorData[],
  output: TensorData,
  count: number,
  operation: ReduceOperation,
): void {
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const isSum = operation === 'sum';
  for (let i = 0; i < count; i++) {
    bits[0] = (sources[0]?.[i] as number) << 16;
    let result = float[0] as number;
    for (let s = 1; s < sources.length; s++) {
      bits[0] = (sources[s]?.[i] as number) << 16;
      const value = float[0] as number;
      result = isSum ? Math.fround(result + value) : larger(result, value);
    }
    float[0] = result;
    const word = bits[0] as number;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    output[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}
