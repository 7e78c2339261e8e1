/**
 * Collectives of engines whose memory other threads cannot see: the numbers go through shared staging memory, a piece of
 * every rank at a time. Each step of the group stands between writing and reading.
 */

import { bytesPerElement, type DType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ReduceOperation } from '../communicator.ts';
import { reduceArrays } from '../reduce.ts';
import type { Group } from './group.ts';
import { stagingBytes } from './shared-run.ts';
import type { Described } from './waiting.ts';

export const pieceLength = (dtype: DType): number => stagingBytes / bytesPerElement[dtype];

/** Calls `body(begin, length)` for pieces of at most `longest` elements. */
export function forPieces(count: number, longest: number, body: (begin: number, length: number) => void): void {
  for (let begin = 0; begin < count; begin += longest) body(begin, Math.min(longest, count - begin));
}

const stagings = (group: Group, dtype: DType, length: number) =>
  Array.from({ length: group.size }, (_, rank) => group.stagingView(rank, dtype, length));

export function allReduce(
  group: Group,
  action: Described,
  tensor: Tensor,
  dtype: DType,
  operation: ReduceOperation,
): void {
  const { rank, size } = group;
  const { data } = tensor;
  forPieces(tensor.size, pieceLength(dtype), (begin, length) => {
    const pieces = stagings(group, dtype, length);
    const mine = group.stagingView(rank, dtype, length);
    mine.set(data.subarray(begin, begin + length));
    group.step(action);
    // this rank's part of the piece, into the staging memory of all
    const from = Math.floor((length * rank) / size);
    const to = Math.floor((length * (rank + 1)) / size);
    const parts = pieces.map((piece) => piece.subarray(from, to));
    const sum = data.subarray(begin + from, begin + to);
    reduceArrays(parts, sum, dtype, operation);
    for (const part of parts) part.set(sum);
    group.step(action);
    data.set(mine, begin);
  });
}

export function reduceScatter(group: Group, action: Described, input: Tensor, output: Tensor, dtype: DType): void {
  const { rank, size } = group;
  const { data } = input;
  const count = output.size;
  forPieces(count, Math.floor(pieceLength(dtype) / size), (begin, length) => {
    const mine = group.stagingView(rank, dtype, length * size);
    for (let other = 0; other < size; other++) {
      const from = other * count + begin;
      mine.set(data.subarray(from, from + length), other * length);
    }
    group.step(action);
    const parts = stagings(group, dtype, length * size).map((piece) =>
      piece.subarray(rank * length, (rank + 1) * length),
    );
    reduceArrays(parts, output.data.subarray(begin, begin + length), dtype, 'sum');
    group.step(action);
  });
}

export function allGather(group: Group, action: Described, input: Tensor, output: Tensor): void {
  const { dtype } = input;
  forPieces(input.size, pieceLength(dtype), (begin, length) => {
    group.stagingView(group.rank, dtype, length).set(input.data.subarray(begin, begin + length));
    group.step(action);
    for (const [rank, piece] of stagings(group, dtype, length).entries()) {
      output.data.set(piece, rank * input.size + begin);
    }
    group.step(action);
  });
}

export function broadcast(group: Group, action: Described, tensor: Tensor, root: number): void {
  const { dtype, data } = tensor;
  forPieces(tensor.size, pieceLength(dtype), (begin, length) => {
    const piece = group.stagingView(root, dtype, length);
    if (group.rank === root) piece.set(data.subarray(begin, begin + length));
    group.step(action);
    if (group.rank !== root) data.set(piece, begin);
    group.step(action);
  });
}
