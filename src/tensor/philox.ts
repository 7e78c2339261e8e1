/** Philox4x32-10: random numbers as a pure function of (counter, key). The same function stands in ops/native/philox.h. */

/** The high 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const rest = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(rest / 65536)) >>> 0;
}

/**
 * Four random 32-bit words for a 128-bit counter and a 64-bit key, written into `out`.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function philox4x32(counter: readonly number[], key: readonly [number, number], out: Uint32Array): void {
  let [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, c0);
    const high1 = multiplyHigh(0xcd9e8d57, c2);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/**
 * Where a random draw stands in the run. Seed and site (which dropout of which layer) make the key; the sample's global
 * number and the element's index within the sample make the counter. Neither rank nor call order appears.
 */
export interface RandomSite {
  /** Unsigned 32 bits. */
  readonly seed: number;
  /** Unsigned 32 bits: which use of randomness in the model. */
  readonly site: number;
}

/** Sixteen random bits for each of the elements [8·block, 8·block + 8) of a sample. */
export function randomBits16(
  at: RandomSite,
  sample: number,
  block: number,
  words: Uint32Array,
  out: Uint16Array,
): void {
  const counter = [block >>> 0, Math.floor(block / 2 ** 32), sample >>> 0, Math.floor(sample / 2 ** 32)];
  philox4x32(counter, [at.seed, at.site], words);
  for (let i = 0; i < 4; i++) {
    const word = words[i] as number;
    out[2 * i] = word & 0xffff;
    out[2 * i + 1] = word >>> 16;
  }
}

/** An element is dropped when its 16 random bits are below `threshold`; the others are multiplied by `scale`. */
export function dropoutRule(probability: number): { threshold: number; scale: number } {
  const threshold = Math.floor(Math.fround(probability) * 65536 + 0.5);
  return { threshold, scale: Math.fround(65536 / (65536 - threshold)) };
}
