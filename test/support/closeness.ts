/** Comparing rows of numbers: one error figure, and an assertion that says where they part. */

import { expect } from 'vitest';

export interface Difference {
  /** Largest |actual − expected| over the largest finite |expected|; Infinity where one is not finite and the other is not the same. */
  readonly relative: number;
  /** Where it is. */
  readonly index: number;
}

/**
 * Errors are measured against the largest expected number, since that is what float32 sums of terms of that size can
 * hold.
 *
 * @param floor what they are measured against at least: inputs in the tests are about 1, so that a tensor whose largest
 *   number is far below is what was left of a cancellation.
 */
export function differenceOf(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-4): Difference {
  let largest = floor;
  for (let i = 0; i < expected.length; i++) {
    const magnitude = Math.abs(expected[i] as number);
    if (Number.isFinite(magnitude)) largest = Math.max(largest, magnitude);
  }
  let worst: Difference = { relative: 0, index: 0 };
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] as number;
    const e = expected[i] as number;
    // NaN must meet NaN, and an infinity the same infinity
    const relative =
      Number.isFinite(a) && Number.isFinite(e)
        ? Math.abs(a - e) / largest
        : Object.is(a, e)
          ? 0
          : Number.POSITIVE_INFINITY;
    if (relative > worst.relative) worst = { relative, index: i };
  }
  return worst;
}

/** Fails unless both have one length and `differenceOf` stays within `tolerance`. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = 'values',
  floor?: number,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  const { relative, index } = differenceOf(actual, expected, floor);
  const place = `${what}[${index}] is ${actual[index]}, expected ${expected[index]}`;
  expect(relative, `${place} (error relative to the largest)`).toBeLessThanOrEqual(tolerance);
}

/** Fails unless both hold the same numbers; much faster than `toEqual` on long rows. */
export function expectSame(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let index = 0;
  while (index < expected.length && Object.is(actual[index], expected[index])) index++;
  if (index < expected.length) expect.fail(`${what}[${index}] is ${actual[index]}, expected ${expected[index]}`);
}
