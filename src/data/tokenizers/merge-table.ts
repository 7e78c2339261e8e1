/** Byte-pair merges: the table of pairs and the loop that applies it to one pre-token. */

import { createMergeHeap, type MergeHeap } from './merge-heap.ts';

/** Longest sequence that the quadratic loop handles; longer ones go to the heap. */
const shortLength = 48;

/** Slots of an open-addressing table, 4 numbers each: left id, right id, rank, id of the merged token. */
export interface MergeTable {
  readonly slots: Int32Array;
  readonly mask: number;
}

/** An empty table for `count` merges, at most half full. */
export function createMergeTable(count: number): MergeTable {
  let size = 16;
  while (size < 2 * count) size *= 2;
  return { slots: new Int32Array(4 * size).fill(-1), mask: size - 1 };
}

/** Enters the merge `left right → merged` of rank `rank` (lower ranks merge first); the later of two equal pairs holds. */
export function addMerge(table: MergeTable, left: number, right: number, rank: number, merged: number): void {
  const { slots, mask } = table;
  let slot = hashPair(left, right) & mask;
  while (slots[4 * slot] !== -1 && (slots[4 * slot] !== left || slots[4 * slot + 1] !== right))
    slot = (slot + 1) & mask;
  slots[4 * slot] = left;
  slots[4 * slot + 1] = right;
  slots[4 * slot + 2] = rank;
  slots[4 * slot + 3] = merged;
}

/** Offset of the pair's slot in `table.slots`, or −1. */
export function findMerge(table: MergeTable, left: number, right: number): number {
  const { slots, mask } = table;
  let slot = hashPair(left, right) & mask;
  for (;;) {
    const found = slots[4 * slot] as number;
    if (found === left && slots[4 * slot + 1] === right) return 4 * slot;
    if (found === -1) return -1;
    slot = (slot + 1) & mask;
  }
}

export function hashPair(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

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
