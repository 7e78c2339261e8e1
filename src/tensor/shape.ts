/** Shapes: sizes of each dimension, slowest first. All tensors are contiguous and row-major. */

import { ShapeError } from '../base/errors.ts';

export type Shape = readonly number[];

export const sizeOf = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);

export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`;

const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((size, i) => size === b[i]);

/** The last dimension. @throws ShapeError for a scalar. */
export function lastOf(shape: Shape): number {
  const last = shape.at(-1);
  if (last === undefined) throw new ShapeError('expected at least one dimension, got a scalar');
  return last;
}

/** How many rows a tensor has when it is seen as [rows, last]. */
export const rowsOf = (shape: Shape): number => sizeOf(shape.slice(0, -1));

/** @throws ShapeError saying which operator and argument, what was expected and what came. */
export function expectShape(operator: string, argument: string, actual: Shape, expected: Shape): void {
  if (!sameShape(actual, expected)) {
    throw new ShapeError(`${operator}: ${argument} must be ${formatShape(expected)}, got ${formatShape(actual)}`);
  }
}

/** @throws ShapeError when a size is not a whole number. */
export function expectSizes(shape: Shape): void {
  if (shape.some((size) => !Number.isSafeInteger(size) || size < 0)) {
    throw new ShapeError(`a shape's sizes must be whole numbers, got ${formatShape(shape)}`);
  }
}
