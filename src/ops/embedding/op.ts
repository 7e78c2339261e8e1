/** Rows of a table by id. */

import { runOperator } from '../../autograd/record.ts';
import { DataError, ShapeError } from '../../base/errors.ts';
import { formatShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { embeddingBackward, embeddingForward } from './kernels.ts';

/** Which rows of a larger table are here, where it is split over ranks. */
export interface TablePart {
  /** The first row that is here. */
  readonly first: number;
  /** Rows of the whole table. */
  readonly entries: number;
}

/**
 * @param ids int32, any shape [...]
 * @param table [v, h]
 * @param part where the table is a part of a larger one: rows that are not here come out as zeros
 * @returns [..., h]
 * @throws DataError for an id outside the whole table.
 */
export function embedding(ids: Tensor, table: Tensor, part?: TablePart): Tensor {
  const { engine } = table;
  const [rows, width] = table.shape;
  if (rows === undefined || width === undefined || table.shape.length !== 2) {
    throw new ShapeError(`embedding: the table must be [entries, width], got ${formatShape(table.shape)}`);
  }
  const { first, entries } = part ?? { first: 0, entries: rows };
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
    forward: (y) => embeddingForward(engine, ids, table, y, ids.size, width, first, rows),
    backward: (dy, gradients) =>
      gradients.into(table, (dTable, accumulate) => {
        if (!accumulate) dTable.data.fill(0);
        embeddingBackward(engine, ids, dy, dTable, ids.size, width, first, rows);
      }),
  });
}
