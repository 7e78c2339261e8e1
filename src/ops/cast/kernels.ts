/** Casts between float32 and the 16-bit formats, rounding to nearest even. */

import { defineKernel } from '../../tensor/kernel.ts';

/** The numbers cross to C++. */
export const halfFormats = { bf16: 1, f16: 2 } as const;
export type HalfFormat = keyof typeof halfFormats;

const isBf16 = (format: number): boolean => format === halfFormats.bf16;

/** y = x in a 16-bit format, as raw bits. */
export const castToHalf = defineKernel('cast_to_half', ['floats', 'halves', 'int', 'int'], (x, y, size, format) => {
  if (isBf16(format)) {
    const float = new Float32Array(1);
    const bits = new Uint32Array(float.buffer);
    for (let i = 0; i < size; i++) {
      float[0] = x[i] as number;
      const word = bits[0] as number;
      const notANumber = (word & 0x7fffffff) > 0x7f800000;
      y[i] = notANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
  } else {
    const half = new Float16Array(y.buffer, y.byteOffset, y.length);
    for (let i = 0; i < size; i++) half[i] = x[i] as number;
  }
});

/** y = x, given as raw 16-bit numbers. Exact. */
export const castFromHalf = defineKernel('cast_from_half', ['halves', 'floats', 'int', 'int'], (x, y, size, format) => {
  if (isBf16(format)) {
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    for (let i = 0; i < size; i++) {
      bits[0] = (x[i] as number) << 16;
      y[i] = float[0] as number;
    }
  } else {
    const half = new Float16Array(x.buffer, x.byteOffset, x.length);
    for (let i = 0; i < size; i++) y[i] = half[i] as number;
  }
});
