/** What ranks tell each other about a call: operation, element type and path in one number, and in words for people. */

import { type DType, dtypes } from '../../tensor/dtype.ts';
import { type ReduceOperation, reduceOperations } from '../communicator.ts';

export const operations = [
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'broadcast',
  'barrier',
  'exchange',
  'message',
] as const;
export type Operation = (typeof operations)[number];

/** How a tensor's numbers get from rank to rank. */
export const paths = ['inline', 'native', 'staged', 'shared GPU'] as const;
export type Path = (typeof paths)[number];

export interface Call {
  readonly operation: Operation;
  readonly dtype?: DType;
  readonly reduce?: ReduceOperation;
  readonly path?: Path;
  readonly root?: number;
  readonly count: number;
}

/** Numbers count from 1, so that 0 says that there is none; a byte each. */
export function kindOf(operation: Operation, dtype?: DType, reduce?: ReduceOperation, path?: Path): number {
  const number = <Name>(names: readonly Name[], name: Name | undefined): number =>
    name === undefined ? 0 : names.indexOf(name) + 1;
  return (
    number(operations, operation) |
    (number(dtypes, dtype) << 8) |
    (number(reduceOperations, reduce) << 16) |
    (number(paths, path) << 24)
  );
}

/** `all-reduce sum f32 [1024]`, `broadcast i32 [3] from rank 1`. */
export function describeCall(kind: number, count: number, root: number): string {
  const operation = operations[(kind & 255) - 1] ?? 'nothing';
  const dtype = dtypes[((kind >> 8) & 255) - 1];
  const reduce = reduceOperations[((kind >> 16) & 255) - 1];
  const words: string[] = [operation];
  if (reduce !== undefined) words.push(reduce);
  if (dtype !== undefined) words.push(dtype, `[${count}]`);
  if (operation === 'broadcast') words.push(`from rank ${root}`);
  const path = paths[((kind >> 24) & 255) - 1];
  if (path === 'staged') words.push('on the reference engine');
  if (path === 'shared GPU') words.push('on a GPU');
  return words.join(' ');
}

/** `tensor group of ranks 0, 1`. */
export function groupLabel(label: string, ranks: readonly number[]): string {
  const first = ranks.slice(0, 8).join(', ');
  return `${label} of ranks ${ranks.length > 8 ? `${first} and ${ranks.length - 8} more` : first}`;
}
