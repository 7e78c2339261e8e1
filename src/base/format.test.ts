/** Formats at their edges: where a unit turns over, where C's forms differ from JavaScript's. */

import { describe, expect, test } from 'vitest';
import {
  displayWidth,
  formatBytes,
  formatCount,
  formatDuration,
  formatExponent,
  formatFixed,
  formatInteger,
  formatTimestamp,
  parseBytes,
  truncateToWidth,
} from './format.ts';

describe('format', () => {
  test('bytes turn over to the next unit where rounding does', () => {
    expect([0, 1, 999, 1000, 1536, 999_499, 999_500, 1.5e9, 7e18].map((value) => formatBytes(value))).toEqual([
      '0 B',
      '1 B',
      '999 B',
      '1.00 kB',
      '1.54 kB',
      '999 kB',
      '1.00 MB',
      '1.50 GB',
      '7000 PB',
    ]);
    expect(formatBytes(1536, { binary: true })).toBe('1.50 KiB');
    expect(formatBytes(3 * 2 ** 30, { binary: true })).toBe('3.00 GiB');
    expect(formatBytes(2 ** 40, { binary: true })).toBe('1.00 TiB');
    expect(formatBytes(-2500)).toBe('-2.50 kB');
    expect(formatBytes(Number.NaN)).toBe('–');
  });

  test('bytes are read as they are written', () => {
    for (const [text, bytes] of [
      ['0', 0],
      ['4096', 4096],
      ['12GiB', 12 * 2 ** 30],
      ['1.5 GB', 1.5e9],
      ['512mib', 2 ** 29],
      ['100 kB', 1e5],
    ] as const) {
      expect(parseBytes(text), text).toBe(bytes);
    }
    for (const text of ['', 'GiB', '-1GB', '12 G', '1,5GB', '12GiBs', 'all'])
      expect(parseBytes(text), text).toBe(undefined);
  });

  test('counts', () => {
    expect([0, 12, 999, 1000, 12_345, 999_999, 124_439_808, 8.3e9, 1.2e12].map(formatCount)).toEqual([
      '0',
      '12',
      '999',
      '1.00k',
      '12.3k',
      '1.00M',
      '124M',
      '8.30B',
      '1.20T',
    ]);
    expect([0.5, 3.137, 99.96].map(formatCount)).toEqual(['0.50', '3.14', '100']);
    expect([0, 999, 1000, 1_234_567, -1_234_567, -0.2].map(formatInteger)).toEqual([
      '0',
      '999',
      '1,000',
      '1,234,567',
      '-1,234,567',
      '0',
    ]);
  });

  test('durations never show 60 seconds or 1000 milliseconds', () => {
    expect(
      [0, 999, 999.6, 12_340, 59_940, 59_960, 245_000, 3_599_600, 11_220_000, 183_600_000].map(formatDuration),
    ).toEqual(['0 ms', '999 ms', '1.0 s', '12.3 s', '59.9 s', '1m 00s', '4m 05s', '1h 00m', '3h 07m', '2d 03h']);
    expect(formatDuration(Number.NaN)).toBe('–');
    expect(formatDuration(Number.POSITIVE_INFINITY)).toBe('–');
  });

  test("exponents as C's %.6E", () => {
    expect([0, 1, 10.92345678, 6e-5, -1.5e-10, 1e100, -0].map((value) => formatExponent(value))).toEqual([
      '0.000000E+00',
      '1.000000E+00',
      '1.092346E+01',
      '6.000000E-05',
      '-1.500000E-10',
      '1.000000E+100',
      '-0.000000E+00',
    ]);
    expect(
      [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) => formatExponent(value)),
    ).toEqual(['nan', 'inf', '-inf']);
    expect(formatFixed(1e22, 1)).toBe('10000000000000000000000.0');
    expect(formatFixed(1.25, 3)).toBe('1.250');
  });

  test('timestamp', () => {
    expect(formatTimestamp(new Date(2026, 0, 2, 3, 4, 5))).toBe('2026-01-02 03:04:05');
  });

  test('width counts terminal columns, and a cut fits', () => {
    expect(displayWidth('abc')).toBe(3);
    expect(displayWidth('東京')).toBe(4);
    expect(displayWidth('e\u0301')).toBe(1);
    expect(truncateToWidth('hello world', 8)).toBe('hello w…');
    expect(truncateToWidth('東京都庁', 6)).toBe('東京…');
    expect(truncateToWidth('fits', 4)).toBe('fits');
  });
});
