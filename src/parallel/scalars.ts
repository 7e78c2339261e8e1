/** Small numbers that ranks agree on, in double precision. */

import type { Communicator } from '../comm/communicator.ts';

/** Σ over the ranks of a group (this rank alone without one), in rank order, the same on every rank; NaN and ∞ survive. */
export function sumOver(group: Communicator | undefined, value: number): number {
  if (group === undefined || group.size === 1) return value;
  // JSON has no NaN or infinity, so numbers travel as text
  return group.exchange(String(value)).reduce((sum, text) => sum + Number(text), 0);
}

/** One rank's value for all, for decisions that must be the same everywhere. */
export function agreedValue<Value>(group: Communicator, root: number, value: Value): Value {
  if (group.size === 1) return value;
  return group.exchange(group.rank === root ? value : null)[root] as Value;
}
