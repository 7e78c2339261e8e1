/** 16-bit numbers in plain TypeScript, rounding to nearest even. */

import type { Floats, HalfType } from './dtype.ts';

/** The numbers that these 16-bit patterns stand for. Exact. */
export function decodeHalves(bits: Uint16Array, format: HalfType, values: Floats): void {
  if (format === 'f16') {
    const halves = new Float16Array(bits.buffer, bits.byteOffset, bits.length);
    for (let i = 0; i < bits.length; i++) values[i] = halves[i] as number;
    return;
  }
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  for (let i = 0; i < bits.length; i++) {
    word[0] = (bits[i] as number) << 16;
    values[i] = float[0] as number;
  }
}

/** The nearest 16-bit patterns; NaN stays NaN, what is too large becomes infinite. */
export function encodeHalves(values: ArrayLike<number>, format: HalfType, bits: Uint16Array): void {
  if (format === 'f16') {
    const halves = new Float16Array(bits.buffer, bits.byteOffset, bits.length);
    for (let i = 0; i < bits.length; i++) halves[i] = values[i] as number;
    return;
  }
  const float = new Float32Array(1);
  const pattern = new Uint32Array(float.buffer);
  for (let i = 0; i < bits.length; i++) {
    float[0] = values[i] as number;
    const word = pattern[0] as number;
    const notANumber = (word & 0x7fffffff) > 0x7f800000;
    bits[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}
