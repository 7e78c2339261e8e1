/** Counts of neighbouring symbol pairs, kept exact while symbols merge, and the most frequent pair at any time. */

import { hashPair } from './merge-table.ts';

export interface PairStatistics {
  /** Adds `change` occurrences of the pair; a positive change also notes that `word` holds it. */
  add(left: number, right: number, change: number, word: number): void;
  /** Tells the queue of the pairs that grew since the last call. */
  settle(): void;
  /**
   * Takes the most frequent pair out of the queue; among equals the one with the smaller left id, then the smaller right id. −1 where no pair occurs
   * `minimum` times.
   */
  takeBest(minimum: number): number;
  leftOf(pair: number): number;
  rightOf(pair: number): number;
  /** Calls `visit` for every word that ever held the pair, in no useful order, some of them twice, and forgets them. */
  takeWords(pair: number, visit: (word: number) => void): void;
}

export function createPairStatistics(): PairStatistics {
  let capacity = 1 << 12;
  let slots = new Int32Array(2 * capacity);
  let lefts = new Int32Array(capacity);
  let rights = new Int32Array(capacity);
  let counts = new Float64Array(capacity);
  /** First entry of the pair's list of words + 1, and the word that was put there last. */
  let heads = new Int32Array(capacity);
  let size = 0;

  let entryWords = new Int32Array(1 << 14);
  let entryNext = new Int32Array(1 << 14);
  let entries = 0;

  let grown: number[] = [];
  let isGrown = new Uint8Array(capacity);

  // The queue is a binary heap of (pair, count when it was put there). Counts that shrank are noticed when taken.
  let heapPairs = new Int32Array(1 << 12);
  let heapCounts = new Float64Array(1 << 12);
  let heapSize = 0;

  const growPairs = (): void => {
    capacity *= 2;
    lefts = widen(lefts, new Int32Array(capacity));
    rights = widen(rights, new Int32Array(capacity));
    counts = widen(counts, new Float64Array(capacity));
    heads = widen(heads, new Int32Array(capacity));
    isGrown = widen(isGrown, new Uint8Array(capacity));
    slots = new Int32Array(2 * capacity);
    const mask = slots.length - 1;
    for (let pair = 0; pair < size; pair++) {
      let slot = hashPair(lefts[pair] as number, rights[pair] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = pair + 1;
    }
  };

  const pairOf = (left: number, right: number): number => {
    const mask = slots.length - 1;
    let slot = hashPair(left, right) & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const pair = (slots[slot] as number) - 1;
      if (lefts[pair] === left && rights[pair] === right) return pair;
    }
    const pair = size++;
    slots[slot] = pair + 1;
    lefts[pair] = left;
    rights[pair] = right;
    if (size === capacity) growPairs();
    return pair;
  };

  /** True where the first comes before the second: more frequent, or equally so with smaller ids. */
  const precedes = (pair: number, count: number, otherPair: number, otherCount: number): boolean => {
    if (count !== otherCount) return count > otherCount;
    const left = (lefts[pair] as number) - (lefts[otherPair] as number);
    return left !== 0 ? left < 0 : (rights[pair] as number) < (rights[otherPair] as number);
  };

  const push = (pair: number): void => {
    if (heapSize === heapPairs.length) {
      heapPairs = widen(heapPairs, new Int32Array(2 * heapSize));
      heapCounts = widen(heapCounts, new Float64Array(2 * heapSize));
    }
    const count = counts[pair] as number;
    let index = heapSize++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!precedes(pair, count, heapPairs[parent] as number, heapCounts[parent] as number)) break;
      heapPairs[index] = heapPairs[parent] as number;
      heapCounts[index] = heapCounts[parent] as number;
      index = parent;
    }
    heapPairs[index] = pair;
    heapCounts[index] = count;
  };

  const removeTop = (): void => {
    heapSize--;
    const pair = heapPairs[heapSize] as number;
    const count = heapCounts[heapSize] as number;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heapSize) break;
      const sibling = child + 1;
      if (
        sibling < heapSize &&
        precedes(
          heapPairs[sibling] as number,
          heapCounts[sibling] as number,
          heapPairs[child] as number,
          heapCounts[child] as number,
        )
      )
        child = sibling;
      if (!precedes(heapPairs[child] as number, heapCounts[child] as number, pair, count)) break;
      heapPairs[index] = heapPairs[child] as number;
      heapCounts[index] = heapCounts[child] as number;
      index = child;
    }
    heapPairs[index] = pair;
    heapCounts[index] = count;
  };

  return {
    add(left, right, change, word) {
      const pair = pairOf(left, right);
      counts[pair] = (counts[pair] as number) + change;
      if (change <= 0) return;
      if (isGrown[pair] === 0) {
        isGrown[pair] = 1;
        grown.push(pair);
      }
      const head = heads[pair] as number;
      if (head !== 0 && entryWords[head - 1] === word) return;
      if (entries === entryWords.length) {
        entryWords = widen(entryWords, new Int32Array(2 * entries));
        entryNext = widen(entryNext, new Int32Array(2 * entries));
      }
      entryWords[entries] = word;
      entryNext[entries] = head;
      heads[pair] = ++entries;
    },
    settle() {
      for (const pair of grown) {
        isGrown[pair] = 0;
        push(pair);
      }
      grown = [];
    },
    takeBest(minimum) {
      while (heapSize > 0) {
        const pair = heapPairs[0] as number;
        const queued = heapCounts[0] as number;
        const count = counts[pair] as number;
        removeTop();
        if (count === queued && count > 0) return count >= minimum ? pair : -1;
        // Growth is queued by `settle`, so a different count is a smaller one: it waits for its turn again.
        if (count < queued && count > 0) push(pair);
      }
      return -1;
    },
    leftOf: (pair) => lefts[pair] as number,
    rightOf: (pair) => rights[pair] as number,
    takeWords(pair, visit) {
      let entry = heads[pair] as number;
      heads[pair] = 0;
      while (entry !== 0) {
        visit(entryWords[entry - 1] as number);
        entry = entryNext[entry - 1] as number;
      }
    },
  };
}

function widen<T extends Int32Array | Float64Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
