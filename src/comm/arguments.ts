/** What every communicator checks before it talks to anyone: an error here is this rank's own mistake. */

import { ShapeError, UsageError } from '../base/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

type Group = { readonly label: string; readonly size: number };

const describe = (tensor: Tensor): string => `${tensor.dtype} ${formatShape(tensor.shape)}`;

/** @throws ShapeError unless `whole` is `part` once for every rank, of the same element type. */
export function expectParts(operation: string, group: Group, whole: Tensor, part: Tensor): void {
  if (whole.dtype !== part.dtype || whole.size !== part.size * group.size) {
    throw new ShapeError(
      `${operation}: ${describe(whole)} is not ${group.size} times ${describe(part)}, once for each rank of the ${group.label}`,
    );
  }
}

/** @throws UsageError unless `rank` is a rank of the group. */
export function expectRank(operation: string, group: Group, rank: number): void {
  if (!Number.isInteger(rank) || rank < 0 || rank >= group.size) {
    throw new UsageError(`${operation}: ${rank} is no rank of the ${group.label} (0 to ${group.size - 1})`);
  }
}

/** @throws UsageError unless `rank` is another rank of the group. */
export function expectPeer(operation: string, group: Group & { readonly rank: number }, rank: number): void {
  expectRank(operation, group, rank);
  if (rank === group.rank) throw new UsageError(`${operation}: rank ${rank} of the ${group.label} is this rank itself`);
}
