/** Applies byte-pair merges to one pre-token: a quadratic loop for short ones, a heap for the rest. */

import { createMergeHeap, type MergeHeap } from './merge-heap.ts';
import { findMerge, type MergeTable } from './merge-table.ts';

/** Longest sequence that the quadratic loop handles; longer ones go to the heap. */
const shortLength = 48;

/** Merges sequences in place; holds the scratch memory to do so. */
export interface Merger {
  /** Applies every merge to `symbols[0 … length)`, lowest rank first and leftmost among equals. Returns the new length. */
  merge(symbols: Int32Array, length: number): number;
}

export function createMerger(table: MergeTable): Merger {
  const ranks = new Int32Array(shortLength);
  let heap: MergeHeap | undefined;
  return {
    merge(symbols, length) {
      if (length < 2) return length;
      if (length <= shortLength) return mergeShort(table, symbols, length, ranks);
      heap ??= createMergeHeap(table);
      return heap.merge(symbols, length);
    },
  };
}

const noRank = 0x7fffffff;

function rankOf(table: MergeTable, left: number, right: number): number {
  const slot = findMerge(table, left, right);
  return slot < 0 ? noRank : (table.slots[slot + 2] as number);
}

/** ranks[i] is the rank of the pair (i, i + 1); each round merges the best one and looks up its two new neighbours. */
function mergeShort(table: MergeTable, symbols: Int32Array, length: number, ranks: Int32Array): number {
  let count = length;
  for (let index = 0; index + 1 < count; index++)
    ranks[index] = rankOf(table, symbols[index] as number, symbols[index + 1] as number);
  for (;;) {
    let best = noRank;
    let at = -1;
    for (let index = 0; index + 1 < count; index++) {
      const rank = ranks[index] as number;
      if (rank < best) {
        best = rank;
        at = index;
      }
    }
    if (at < 0) return count;
    symbols[at] = table.slots[findMerge(table, symbols[at] as number, symbols[at + 1] as number) + 3] as number;
    count--;
    for (let index = at + 1; index < count; index++) {
      symbols[index] = symbols[index + 1] as number;
      ranks[index] = ranks[index + 1] as number;
    }
    if (at > 0) ranks[at - 1] = rankOf(table, symbols[at - 1] as number, symbols[at] as number);
    if (at + 1 < count) ranks[at] = rankOf(table, symbols[at] as number, symbols[at + 1] as number);
  }
}
