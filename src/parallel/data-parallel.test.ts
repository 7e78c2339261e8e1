/** Gradients summed over ranks in buckets, while backward goes on: the same bits as sums by hand in rank order. */

import { describe } from 'vitest';
import { describeComparisons } from '../../test/support/comparisons.ts';

const names = ['a bucket for each parameter', 'buckets of a hundred', 'one bucket a group'];
const checks = ['wrong numbers', 'starts that overlap nothing', 'buckets missed or twice'];

describe('GradientReducer', () => {
  describeComparisons(
    new URL('../../test/support/ranks/data-parallel.rank.ts', import.meta.url),
    Object.fromEntries(names.flatMap((name) => checks.map((check) => [`${name}: ${check}`, 0]))),
  );
});
