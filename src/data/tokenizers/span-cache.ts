/** A bounded memory of pre-tokens already encoded: text span → ids, without a string or an object made per look-up. */

/** Longest span, in code units, that is remembered. */
export const longestCachedSpan = 48;

export interface SpanCache {
  /** Entry of `text[start … end)`, or −1. `hash` is `hashSpan` of it. */
  find(text: string, start: number, end: number, hash: number): number;
  /** Remembers `ids[0 … count)` for the span; when the memory is full, everything is forgotten first. */
  add(text: string, start: number, end: number, hash: number, ids: Int32Array, count: number): void;
  /** Ids of entry e: `ids[idStart[e] … idStart[e] + idCount[e])`. */
  readonly ids: Int32Array;
  readonly idStart: Int32Array;
  readonly idCount: Uint8Array;
}

/** FNV-1a over the code units, mixed once more so that its low bits are good. */
export function hashSpan(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5 ^ (end - start);
  for (let index = start; index < end; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash ^ (hash >>> 15);
}

/**
 * @param entryCount most spans to remember, a power of two. Memory is about 70 bytes an entry, reserved at once and touched as it fills.
 */
export function createSpanCache(entryCount = 1 << 16): SpanCache {
  const slots = new Int32Array(2 * entryCount);
  const mask = slots.length - 1;
  const hashes = new Int32Array(entryCount);
  const keyStart = new Int32Array(entryCount);
  const keyLength = new Uint8Array(entryCount);
  const idStart = new Int32Array(entryCount);
  const idCount = new Uint8Array(entryCount);
  const keys = new Uint16Array(12 * entryCount);
  const ids = new Int32Array(6 * entryCount);
  let size = 0;
  let keysUsed = 0;
  let idsUsed = 0;

  const matches = (entry: number, text: string, start: number, length: number): boolean => {
    if (keyLength[entry] !== length) return false;
    const key = keyStart[entry] as number;
    for (let index = 0; index < length; index++) if (keys[key + index] !== text.charCodeAt(start + index)) return false;
    return true;
  };

  return {
    ids,
    idStart,
    idCount,
    find(text, start, end, hash) {
      // Slots hold entry + 1, so that fresh memory reads as empty.
      for (let slot = hash & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
        const entry = (slots[slot] as number) - 1;
        if (hashes[entry] === hash && matches(entry, text, start, end - start)) return entry;
      }
      return -1;
    },
    add(text, start, end, hash, newIds, count) {
      const length = end - start;
      if (count > 255 || length > 255) return;
      if (size === entryCount || keysUsed + length > keys.length || idsUsed + count > ids.length) {
        slots.fill(0);
        size = keysUsed = idsUsed = 0;
      }
      let slot = hash & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      const entry = size++;
      slots[slot] = entry + 1;
      hashes[entry] = hash;
      keyStart[entry] = keysUsed;
      keyLength[entry] = length;
      for (let index = 0; index < length; index++) keys[keysUsed++] = text.charCodeAt(start + index);
      idStart[entry] = idsUsed;
      idCount[entry] = count;
      for (let index = 0; index < count; index++) ids[idsUsed++] = newIds[index] as number;
    },
  };
}
