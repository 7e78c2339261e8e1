/** The same numbers under another shape; no copy. */

import { isTracked } from '../../autograd/record.ts';
import { ShapeError } from '../../base/errors.ts';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** @throws ShapeError when the number of elements differs. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  if (sizeOf(shape) !== x.size) {
    throw new ShapeError(`reshape: ${formatShape(x.shape)} has not as many elements as ${formatShape(shape)}`);
  }
  const tracked = isTracked([x]);
  const output = x.view(shape, 0, tracked);
  if (tracked) {
    x.engine.recorder?.record({
      name: 'reshape',
      inputs: [x],
      output,
      saved: [],
      backward: (dy, gradients) => {
        using flat = dy.view(x.shape);
        gradients.pass(x, flat);
      },
    });
  }
  return output;
}
