/** Reductions of plain arrays in TypeScript: short tensors of every engine, all tensors of the reference engine. */

import { type DType, isHalf, type TensorData } from '../tensor/dtype.ts';
import { decodeHalves, encodeHalves } from '../tensor/halves.ts';
import type { ReduceOperation } from './communicator.ts';

/**
 * output = the sum or maximum of the sources, one after the other in their order. Each step rounds to the element type;
 * bf16 and f16 are added up in float32 and rounded once, to nearest even. A maximum keeps a NaN, so that a diverged rank is seen.
 *
 * @param output none of the sources; as long as each of them
 */
export function reduceArrays(
  sources: readonly TensorData[],
  output: TensorData,
  dtype: DType,
  operation: ReduceOperation,
): void {
  if (isHalf(dtype)) {
    const sums = new Float32Array(output.length);
    const one = new Float32Array(output.length);
    for (const [s, source] of sources.entries()) {
      decodeHalves(source as Uint16Array, dtype, s === 0 ? sums : one);
      if (s > 0) combine(sums, one, operation);
    }
    encodeHalves(sums, dtype, output as Uint16Array);
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
