/** Splits and sample counts, against Python's own results. */

import { describe, expect, test } from 'vitest';
import { UsageError } from '../../base/errors.ts';
import { parseSplit, roundHalfEven, sampleCounts, sequenceRange } from './split.ts';

const ranges = (split: string, count: number) => {
  const bookends = parseSplit(split);
  return [bookends.train, bookends.valid, bookends.test].map((bookend) => {
    if (bookend === undefined) return undefined;
    const { begin, end } = sequenceRange(bookend, count);
    return [begin, end];
  });
};

describe('split', () => {
  test.each([
    [
      '969, 30, 1',
      1000,
      [
        [0, 969],
        [969, 999],
        [999, 1000],
      ],
    ],
    [
      '969,30,1',
      10,
      [
        [0, 10],
        [10, 10],
        [10, 10],
      ],
    ],
    ['99/1/0', 1000, [[0, 990], [990, 1000], undefined]],
    ['100', 7, [[0, 7], undefined, undefined]],
    ['1 1', 5, [[0, 2], [2, 5], undefined]],
    [
      '.5,.25,.25',
      6,
      [
        [0, 3],
        [3, 4],
        [4, 6],
      ],
    ],
    ['0,1,1', 4, [undefined, [0, 2], [2, 4]]],
    [
      '1,1,1',
      10,
      [
        [0, 3],
        [3, 7],
        [7, 10],
      ],
    ],
  ])('"%s" of %i documents', (split, count, expected) => {
    expect(ranges(split, count)).toEqual(expected);
  });

  test.each(['', 'a', '1,2,3,4', '-1,2', '0,0,0', '1,nan', '1..2'])('"%s" is refused', (split) => {
    expect(() => parseSplit(split)).toThrow(UsageError);
  });

  test('halves round to even, as in Python', () => {
    expect([0.5, 1.5, 2.5, 2.4999, 3.5, 1e15 + 0.5].map(roundHalfEven)).toEqual([0, 2, 2, 2, 4, 1e15]);
  });
});

test('sample counts', () => {
  expect(sampleCounts({ trainIters: 105, globalBatchSize: 8, evalIters: 3, evalInterval: 10 })).toEqual({
    train: 840,
    valid: 11 * 3 * 8,
    test: 24,
  });
  expect(sampleCounts({ trainIters: 10, globalBatchSize: 4, evalIters: 0 })).toEqual({ train: 40, valid: 0, test: 0 });
});
