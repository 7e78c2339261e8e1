import { describe, expect, it } from 'vitest';
import { dropoutRule, philox4x32, randomBits16 } from './philox.ts';

const words = (counter: readonly number[], key: readonly [number, number]): number[] => {
  const out = new Uint32Array(4);
  philox4x32(counter, key, out);
  return Array.from(out);
};

describe('philox4x32', () => {
  // the known-answer vectors that come with Random123 (kat_vectors, philox4x32 with 10 rounds)
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as const)('gives the published words for counter %j', (counter, key, expected) => {
    expect(words(counter, key)).toEqual(expected);
  });
});

describe('randomBits16', () => {
  it('cuts the four words of (block, sample) into eight halves, low half first', () => {
    const out = new Uint16Array(8);
    const [block, sample] = [2 ** 33 + 5, 2 ** 40 + 7];
    randomBits16({ seed: 3, site: 4 }, sample, block, new Uint32Array(4), out);
    const expected = words([5, 2, 7, 256], [3, 4]).flatMap((word) => [word & 0xffff, word >>> 16]);
    expect(Array.from(out)).toEqual(expected);
  });
});

describe('dropoutRule', () => {
  it.each([
    [0, 0, 1],
    [0.5, 32768, 2],
    [0.1, 6554, 65536 / (65536 - 6554)],
    [1e-6, 0, 1],
  ])('of probability %f drops below %i', (probability, threshold, scale) => {
    expect(dropoutRule(probability)).toEqual({ threshold, scale: Math.fround(scale) });
  });
});
