/** Figures produced by NumPy (`numpy.random.RandomState`, `numpy.sum`, version 2.4). */

import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { UsageError } from '../base/errors.ts';
import { createNumpyRandom, numpySum } from './numpy-random.ts';

const upTo = (count: number) => Int32Array.from({ length: count }, (_, i) => i);

describe('NumPy random state', () => {
  test('first words', () => {
    expect(createNumpyRandom(1234).nextUint32()).toBe(822569775);
    expect(createNumpyRandom(5489).nextUint32()).toBe(3499211612);
    const largest = createNumpyRandom(0xffffffff);
    expect(Array.from({ length: 4 }, () => largest.nextUint32())).toEqual([
      419326371, 479346978, 3918654476, 2416749639,
    ]);
  });

  test('shuffle', () => {
    const a = upTo(10);
    createNumpyRandom(1234).shuffle(a);
    expect([...a]).toEqual([7, 2, 9, 1, 0, 8, 4, 5, 6, 3]);
    const b = upTo(10);
    createNumpyRandom(1).shuffle(b);
    expect([...b]).toEqual([2, 9, 6, 4, 0, 3, 1, 7, 8, 5]);
  });

  test('a long shuffle, through many regenerations of the state', () => {
    const random = createNumpyRandom(99);
    const array = upTo(100_000);
    random.shuffle(array);
    expect(createHash('sha256').update(array).digest('hex')).toBe(
      'edca403853852a3b8290b4bf4dd8c7f94937dca5dca665509a2276a62be475e8',
    );
    expect(Array.from({ length: 5 }, () => random.randint(0, 1000))).toEqual([749, 892, 509, 233, 570]);
  });

  test('randint, random and choice', () => {
    const integers = createNumpyRandom(1234);
    expect(Array.from({ length: 10 }, () => integers.randint(1, 5))).toEqual([4, 4, 3, 2, 1, 1, 1, 2, 4, 2]);
    const doubles = createNumpyRandom(7);
    expect(Array.from({ length: 3 }, () => doubles.random())).toEqual([
      0.07630828937395717, 0.7799187922401146, 0.4384092314408935,
    ]);
    const choices = createNumpyRandom(7);
    expect(Array.from({ length: 12 }, () => choices.choice([0.1, 0.2, 0.3, 0.15, 0.25]))).toEqual([
      0, 4, 2, 3, 4, 2, 2, 0, 1, 2, 3, 4,
    ]);
  });

  test('one outcome draws nothing', () => {
    const a = createNumpyRandom(3);
    const b = createNumpyRandom(3);
    expect(a.randint(5, 6)).toBe(5);
    expect(a.nextUint32()).toBe(b.nextUint32());
  });

  test('seeds that NumPy refuses', () => {
    for (const seed of [-1, 0.5, 2 ** 32, Number.NaN]) expect(() => createNumpyRandom(seed)).toThrow(UsageError);
  });
});

test.each([
  [7, 4.035707336952881],
  [8, 4.318967607966844],
  [100, 47.23667917192546],
  [129, 54.260960397290106],
  [1000, 489.81531064337395],
  [5000, 2517.2578023232895],
])('the sum of %i numbers has NumPy rounding', (count, sum) => {
  const random = createNumpyRandom(count);
  expect(numpySum(Float64Array.from({ length: count }, () => random.random()))).toBe(sum);
});
