/** Cross-entropy of each token, in float32, whose gradient is written over the logits. */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError } from '../../base/errors.ts';
import { formatShape, lastOf, rowsOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { crossEntropyBackward, crossEntropyForward } from './kernels.ts';

export interface CrossEntropyOptions {
  /** Columns from here on are padding of the vocabulary and take no part; all columns where not given. */
  readonly entries?: number;
}

/**
 * The backward pass overwrites the logits with their gradient, so no second [rows, v] buffer exists (unless the logits are
 * a leaf, or another backward pass reads them); reading them after backward is an error of the caller.
 *
 * @param logits [..., v]
 * @param labels int32 [...]; a label outside the vocabulary (−1, say) gives loss 0 and no gradient.
 * @returns [...], one loss a token, in nats
 */
export function crossEntropy(logits: Tensor, labels: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { engine } = logits;
  const stride = lastOf(logits.shape);
  const rows = rowsOf(logits.shape);
  const entries = options.entries ?? stride;
  if (labels.size !== rows) {
    throw new ShapeError(`crossEntropy: ${formatShape(labels.shape)} labels for logits ${formatShape(logits.shape)}`);
  }
  if (entries < 1 || entries > stride) throw new ShapeError(`crossEntropy: ${entries} entries in rows of ${stride}`);
  using statistics = Tensor.empty(engine, [rows, 2]);
  return runOperator({
    name: 'crossEntropy',
    inputs: [logits],
    shape: labels.shape,
    dtype: engine.floatType,
    saved: [logits, labels, statistics],
    forward: (loss) => crossEntropyForward(engine, logits, labels, loss, statistics, rows, entries, stride),
    backward: (dLoss, gradients) => {
      const inPlace = gradients.mayOverwrite(logits);
      using copy = inPlace ? undefined : Tensor.copyOf(logits);
      const dLogits = copy ?? logits;
      crossEntropyBackward(engine, dLogits, labels, statistics, dLoss, rows, entries, stride, 0, entries);
      gradients.pass(logits, dLogits);
    },
  });
}
