import { expect, it } from 'vitest';
import { reduceArrays } from './reduce.ts';

it('rounds sums of float32 at each step, in the order of the sources', () => {
  const sources = [1, 2 ** -24, 2 ** -24].map((x) => Float32Array.of(x));
  const output = new Float32Array(1);
  reduceArrays(sources, output, 'f32', 'sum');
  expect(output[0]).toBe(1);
  reduceArrays(sources.toReversed(), output, 'f32', 'sum');
  expect(output[0]).toBe(1 + 2 ** -23);
});

it('adds bf16 up in float32 and rounds once, to nearest even', () => {
  // 1 + 3 · 2⁻⁹: each step alone would round back to 1
  const sources = [0x3f80, 0x3b00, 0x3b00, 0x3b00].map((bits) => Uint16Array.of(bits));
  const output = new Uint16Array(1);
  reduceArrays(sources, output, 'bf16', 'sum');
  expect(output[0]).toBe(0x3f81);
  // 1 + 2⁻⁸ lies between 1 and its neighbour: the even one is 1
  reduceArrays(sources.slice(0, 3), output, 'bf16', 'sum');
  expect(output[0]).toBe(0x3f80);
});

it('adds f16 up in float32 and rounds once; what is too large becomes infinite', () => {
  // 1 + 3 · 2⁻¹²: each step alone would round back to 1
  const sum = (...bits: number[]): number => {
    const output = new Uint16Array(1);
    reduceArrays(
      bits.map((one) => Uint16Array.of(one)),
      output,
      'f16',
      'sum',
    );
    return output[0] as number;
  };
  expect(sum(0x3c00, 0x0c00, 0x0c00, 0x0c00)).toBe(0x3c01);
  // 1 + 2⁻¹¹ lies between 1 and its neighbour: the even one is 1
  expect(sum(0x3c00, 0x0c00, 0x0c00)).toBe(0x3c00);
  // 65504 and a half of its unit in the last place; between partial sums there is more room
  expect(sum(0x7bff, 0x4c00)).toBe(0x7c00);
  expect(sum(0x7bff, 0x7bff, 0xfbff)).toBe(0x7bff);
  // the smallest number of all is kept
  expect(sum(0x0001, 0x0001)).toBe(0x0002);
});

it('wraps integers around', () => {
  const output = new Int32Array(1);
  reduceArrays([Int32Array.of(2 ** 31 - 1), Int32Array.of(2)], output, 'i32', 'sum');
  expect(output[0]).toBe(-(2 ** 31) + 1);
});

it('keeps a NaN in a maximum, whoever has it', () => {
  for (const values of [
    [Number.NaN, 1],
    [1, Number.NaN],
  ]) {
    const output = new Float64Array(1);
    reduceArrays(
      values.map((x) => Float64Array.of(x)),
      output,
      'f64',
      'max',
    );
    expect(output[0]).toBeNaN();
    const halves = new Uint16Array(1);
    const bits = values.map((x) => Uint16Array.of(Number.isNaN(x) ? 0x7fc0 : 0x3f80));
    reduceArrays(bits, halves, 'bf16', 'max');
    expect((halves[0] as number) & 0x7fff).toBeGreaterThan(0x7f80);
  }
});
