/**
 * The two conjugate functions of intra-layer model parallelism (paper §3, Code 1): f does nothing forward and all-reduces
 * backward, g all-reduces forward and does nothing backward.
 */

import { isTracked } from '../autograd/record.ts';
import { allReduce, type Communicator } from '../comm/communicator.ts';
import { Tensor } from '../tensor/tensor.ts';

/**
 * f: stands where an activation that every rank holds enters a region that is split over the group.
 *
 * @param x any shape, the same on every rank
 * @returns x itself; its gradient is the sum of what the ranks' parts of the region send back
 */
export function copyToGroup(x: Tensor, group: Communicator): Tensor {
  const tracked = isTracked([x]);
  const y = x.view(x.shape, 0, tracked);
  if (tracked) {
    x.engine.recorder?.record({
      name: 'f',
      inputs: [x],
      output: y,
      saved: [],
      backward: (dy, gradients) => {
        // the sum takes the gradient's own memory, unless another path still reads it
        using copy = group.size === 1 || dy.isExclusive ? undefined : Tensor.copyOf(dy);
        const sum = copy ?? dy;
        if (group.size > 1) allReduce(group, sum);
        gradients.pass(x, sum);
      },
    });
  }
  return y;
}

/**
 * g: stands where the partial results of a region come together.
 *
 * @param x any shape, this rank's partial sum; its memory becomes the sum's
 * @returns the sum over the group, the same on every rank
 */
export function reduceFromGroup(x: Tensor, group: Communicator): Tensor {
  const tracked = isTracked([x]);
  // a recomputation that ends here needs no sum: g's backward pass reads nothing
  const unread = tracked && x.engine.recorder?.outputsUnread;
  if (group.size > 1 && !unread) allReduce(group, x);
  const y = x.view(x.shape, 0, tracked);
  if (tracked) {
    x.engine.recorder?.record({
      name: 'g',
      inputs: [x],
      output: y,
      saved: [],
      backward: (dy, gradients) => gradients.pass(x, dy),
    });
  }
  return y;
}
