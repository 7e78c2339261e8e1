/** Changing the element type of a tensor. Not recorded: masters and their 16-bit copies, not activations. */

import { ShapeError } from '../../base/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { castFromHalf, castToHalf, halfFormats } from './kernels.ts';

const isHalf = (dtype: DType): dtype is 'bf16' | 'f16' => dtype === 'bf16' || dtype === 'f16';

/**
 * @param x the engine's float type, bf16 or f16
 * @returns a new tensor of `dtype`, rounded to nearest even
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  const { engine } = x;
  const y = Tensor.empty(engine, x.shape, { dtype });
  if (isHalf(dtype) && x.dtype === engine.floatType) castToHalf(engine, x, y, x.size, halfFormats[dtype]);
  else if (isHalf(x.dtype) && dtype === engine.floatType) castFromHalf(engine, x, y, x.size, halfFormats[x.dtype]);
  else {
    y[Symbol.dispose]();
    throw new ShapeError(`cast: no conversion from ${x.dtype} to ${dtype} on this engine`);
  }
  return y;
}
