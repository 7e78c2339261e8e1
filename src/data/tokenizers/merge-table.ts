/** The table of byte-pair merges. */

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
