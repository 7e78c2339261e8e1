/** Rows of a table by id. */

import { runOperator } from '../../autograd/record.ts';
import { DataError, ShapeError } from '../../base/errors.ts';
import { formatShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { embeddingBackward, embeddingForward } from './kernels.ts';

/**
 * @param ids int32, any shape [...]
 * @param table [v, h]
 * @returns [..., h]
 * @throws DataError for an id outside [0, v).
 */
export function embedding(ids: Tensor, table: Tensor): Tensor {
  const { engine } = table;
  const [entries, width] = table.shape;
  if (entries === undefined || width === undefined || table.shape.length !== 2) {
    throw new ShapeError(`embedding: the table must be [entries, width], got ${formatShape(table.shape)}`);
  }
  for (const id of ids.data) {
    if (id < 0 || id >= entries) {
      throw new DataError(`embedding: id ${id} is outside the table of ${entries} entries`, {
        remedy: 'Was the data made with another tokenizer than the one given?',
      });
    }
  }
  return runOperator({
    name: 'embedding',
    inputs: [table],
    shape: [...ids.shape, width],
    saved: [ids],
    forward: (y) => embeddingForward(engine, ids, table, y, ids.size, width),
    backward: (dy, gradients) =>
      gradients.into(table, (dTable, accumulate) => {
        if (!accumulate) dTable.data.fill(0);
        embeddingBackward(engine, ids, dy, dTable, ids.size, width);
      }),
  });
}
