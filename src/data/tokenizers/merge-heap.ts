/** Byte-pair merging of long sequences: a linked list of symbols and a heap of mergeable pairs, n log n whatever the text. */

import { findMerge, type MergeTable } from './merge-table.ts';

export interface MergeHeap {
  /** As `Merger.merge`. */
  merge(symbols: Int32Array, length: number): number;
}

/** Scratch larger than this (in symbols) is given back after use. */
const keptLength = 1 << 16;

/** A heap entry is rank · 2³² + position: its order is the order of merging. */
const rankUnit = 2 ** 32;

export function createMergeHeap(table: MergeTable): MergeHeap {
  let next = new Int32Array(0);
  let previous = new Int32Array(0);
  let entries = new Float64Array(0);
  let size = 0;

  const push = (entry: number): void => {
    if (size === entries.length) {
      const larger = new Float64Array(2 * size + 16);
      larger.set(entries);
      entries = larger;
    }
    let index = size++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = entries[parent] as number;
      if (above <= entry) break;
      entries[index] = above;
      index = parent;
    }
    entries[index] = entry;
  };

  const pop = (): number => {
    const top = entries[0] as number;
    const last = entries[--size] as number;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      if (child + 1 < size && (entries[child + 1] as number) < (entries[child] as number)) child++;
      if ((entries[child] as number) >= last) break;
      entries[index] = entries[child] as number;
      index = child;
    }
    entries[index] = last;
    return top;
  };

  return {
    merge(symbols, length) {
      if (next.length < length) {
        next = new Int32Array(length);
        previous = new Int32Array(length);
      }
      size = 0;
      const pushPair = (left: number, right: number): void => {
        const slot = findMerge(table, symbols[left] as number, symbols[right] as number);
        if (slot >= 0) push((table.slots[slot + 2] as number) * rankUnit + left);
      };
      for (let index = 0; index < length; index++) {
        next[index] = index + 1 < length ? index + 1 : -1;
        previous[index] = index - 1;
        if (index + 1 < length) pushPair(index, index + 1);
      }
      while (size > 0) {
        const entry = pop();
        const rank = Math.floor(entry / rankUnit);
        const left = entry - rank * rankUnit;
        const right = symbols[left] === -1 ? -1 : (next[left] as number);
        if (right < 0) continue;
        const slot = findMerge(table, symbols[left] as number, symbols[right] as number);
        // An entry goes stale when one of its two symbols was merged meanwhile; a newer entry then stands for what took its place.
        if (slot < 0 || table.slots[slot + 2] !== rank) continue;
        symbols[left] = table.slots[slot + 3] as number;
        symbols[right] = -1;
        const after = next[right] as number;
        next[left] = after;
        if (after >= 0) {
          previous[after] = left;
          pushPair(left, after);
        }
        const before = previous[left] as number;
        if (before >= 0) pushPair(before, left);
      }
      let count = 0;
      for (let index = 0; index >= 0; index = next[index] as number) symbols[count++] = symbols[index] as number;
      if (length > keptLength) {
        next = new Int32Array(0);
        previous = new Int32Array(0);
        entries = new Float64Array(0);
      }
      return count;
    },
  };
}
