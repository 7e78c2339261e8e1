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

/** @throws DataError for an id outside a table. */
export function expectIds(ids: ArrayLike<number>, entries: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    if (id >= 0 && id < entries) continue;
    throw new DataError(`embedding: id ${id} is outside the table of ${entries} entries`, {
      remedy: 'Was the data made with another tokenizer than the one given?',
    });
  }
}

/**
 * @param ids int32, any shape [...]
 * @param table [v, h]
 * @param part where the table is a part of a larger one: rows that are not here come out as zeros
 * @returns [..., h]
 * @throws DataError for an id outside the whole table; on a GPU such an id gives zeros, and `expectIds` is to be asked before.
 */
export function embedding(ids: Tensor, table: Tensor, part?: TablePart): Tensor {
  const { engine } = table;
  const [rows, width] = table.shape;
  if (rows === undefined || width === undefined || table.shape.length !== 2) {
    throw new ShapeError(`embedding: the table must be [entries, width], got ${formatShape(table.shape)}`);
  }
  const { first, entries } = part ?? { first: 0, entries: rows };
  if (!engine.backend.device) expectIds(ids.data, entries); // a device would have to be waited for
  return runOperator({
    name: 'embedding',
    inputs: [table],
    shape: [...ids.shape, width],
    saved: [ids],
    forward: (y) => embeddingForward(engine, ids, table, y, ids.size, width, first, rows),
    backward: (dy, gradients) =>
      gradients.into(table, (dTable, accumulate) => {
        if (!accumulate) dTable.fill(0);
        embeddingBackward(engine, ids, dy, dTable, ids.size, width, first, rows);
      }),
  });
}
