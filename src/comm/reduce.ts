/** Reductions of plain arrays in TypeScript: short tensors of every engine, all tensors of the reference engine. */

import type { TensorData } from '../tensor/dtype.ts';
import type { ReducibleType } from './arguments.ts';
import type { ReduceOperation } from './communicator.ts';

/**
 * output = the sum or maximum of the sources, one after the other in their order. Each step rounds to the element type;
 * bf16 is added up in float32 and rounded once, to nearest even. A maximum keeps a NaN, so that a diverged rank is seen.
 *
 * @param output none of the sources; as long as each of them
 */
export function reduceArrays(
  sources: readonly TensorData[],
  output: TensorData,
  dtype: ReducibleType,
  operation: ReduceOperation,
): void {
  if (dtype === 'bf16') {
    const sums = new Float32Array(output.length);
    const bits = new Uint32Array(sums.buffer);
    const one = new Float32Array(output.length);
    const oneBits = new Uint32Array(one.buffer);
    for (const [s, source] of sources.entries()) {
      widen(source, s === 0 ? bits : oneBits);
      if (s > 0) combine(sums, one, operation);
    }
    narrow(bits, output);
    return;
  }
  for (const [s, source] of sources.entries()) {
    if (s === 0) output.set(source);
    else combine(output, source, operation);
  }
}

/** Stores round floats to their type and wrap integers around. */
function combine(into: TensorData, from: TensorData, operation: ReduceOperation): void {
  if (operation === 'sum') {
    for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + (from[i] as number);
    return;
  }
  for (let i = 0; i < into.length; i++) {
    const value = from[i] as number;
    if (value > (into[i] as number) || Number.isNaN(value)) into[i] = value;
  }
}

/** bf16 is the upper half of a float32. */
function widen(source: TensorData, bits: Uint32Array): void {
  for (let i = 0; i < bits.length; i++) bits[i] = (source[i] as number) << 16;
}

function narrow(bits: Uint32Array, output: TensorData): void {
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] as number;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    output[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}
