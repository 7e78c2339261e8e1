/** Changing the element type of a tensor. Not recorded: masters and their 16-bit copies, not activations. */

import { ShapeError } from '../../base/errors.ts';
import { type DType, isHalf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { castFrom, castTo } from './kernels.ts';

/**
 * @param x the engine's float type, bf16 or f16
 * @returns a new tensor of `dtype`, rounded to nearest even
 */
export function cast(x: Tensor, dtype: DType): Tensor {
  const { engine } = x;
  const [narrows, widens] = [isHalf(dtype) && !isHalf(x.dtype), isHalf(x.dtype) && dtype === engine.floatType];
  if (!narrows && !widens) throw new ShapeError(`cast: no conversion from ${x.dtype} to ${dtype} on this engine`);
  const y = Tensor.empty(engine, x.shape, { dtype });
  if (narrows) castTo(engine, x, y, x.size);
  else castFrom(engine, x, y, x.size);
  return y;
}
