/** How often each pre-token occurs in a body of text: a hash table of spans that keeps no text alive. */

import type { CharacterClasses } from './character-classes.ts';
import { preTokenEnd } from './pre-tokens.ts';
import { hashSpan } from './span-cache.ts';

/** Pre-tokens longer than this many code units (an encoded image, say) are counted in parts of this length: training time stays linear. */
const longestCountedSpan = 256;

export interface PreTokenCounts {
  /** Number of different pre-tokens so far. */
  readonly size: number;
  /** Counts every pre-token of `text`. */
  countAll(text: string): void;
  /** Pre-token number `index`, in the order of first occurrence. */
  textAt(index: number): string;
  countAt(index: number): number;
}

/** Memory grows with the number of different pre-tokens (about 50 bytes each), not with the length of the text. */
export function createPreTokenCounts(classes: CharacterClasses): PreTokenCounts {
  let slots = new Int32Array(1 << 12);
  let hashes = new Int32Array(1 << 11);
  let starts = new Float64Array((1 << 11) + 1);
  let counts = new Float64Array(1 << 11);
  let keys = new Uint16Array(1 << 14);
  let size = 0;

  const grow = (): void => {
    const wider = 2 * hashes.length;
    hashes = copyInto(new Int32Array(wider), hashes);
    starts = copyInto(new Float64Array(wider + 1), starts);
    counts = copyInto(new Float64Array(wider), counts);
    slots = new Int32Array(2 * wider);
    const mask = slots.length - 1;
    for (let entry = 0; entry < size; entry++) {
      let slot = (hashes[entry] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = entry + 1;
    }
  };

  const isEntry = (entry: number, text: string, start: number, end: number): boolean => {
    const key = starts[entry] as number;
    if ((starts[entry + 1] as number) - key !== end - start) return false;
    for (let index = 0; index < end - start; index++)
      if (keys[key + index] !== text.charCodeAt(start + index)) return false;
    return true;
  };

  const countSpan = (text: string, start: number, end: number): void => {
    const hash = hashSpan(text, start, end);
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = (slots[slot] as number) - 1;
      if (hashes[entry] === hash && isEntry(entry, text, start, end)) {
        counts[entry] = (counts[entry] as number) + 1;
        return;
      }
    }
    const key = starts[size] as number;
    if (key + end - start > keys.length) keys = copyInto(new Uint16Array(2 * keys.length), keys);
    for (let index = start; index < end; index++) keys[key + index - start] = text.charCodeAt(index);
    slots[slot] = size + 1;
    hashes[size] = hash;
    counts[size] = 1;
    starts[++size] = key + end - start;
    if (size === hashes.length) grow();
  };

  return {
    get size() {
      return size;
    },
    countAll(text) {
      for (let start = 0; start < text.length; ) {
        const end = preTokenEnd(text, start, classes);
        while (end - start > longestCountedSpan) {
          const cut =
            start +
            longestCountedSpan -
            ((text.charCodeAt(start + longestCountedSpan - 1) & 0xfc00) === 0xd800 ? 1 : 0);
          countSpan(text, start, cut);
          start = cut;
        }
        countSpan(text, start, end);
        start = end;
      }
    },
    textAt: (index) => String.fromCharCode(...keys.subarray(starts[index], starts[index + 1])),
    countAt: (index) => counts[index] as number,
  };
}

function copyInto<T extends Int32Array | Float64Array | Uint16Array>(target: T, source: T): T {
  target.set(source);
  return target;
}
