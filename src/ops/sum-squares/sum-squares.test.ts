import { expect, it } from 'vitest';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { numbers } from '../../../test/support/numbers.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { sumSquares } from './kernels.ts';

describeOnEngines('sumSquares', (engine) => {
  const run = (values: readonly number[]): number => {
    using x = Tensor.from(engine(), values, [values.length]);
    using total = Tensor.empty(engine(), [1]);
    sumSquares(engine(), x, total, x.size);
    return total.item();
  };

  // Pieces of 4096 squares are summed in float32, many sums side by side: well below 1e-6 relative.
  it.each([0, 1, 7, 17, 4095, 4096, 4097, 70001])('is Σ x² of %i numbers', (size) => {
    const values = numbers({ shape: [size], key: 101 });
    const expected = values.reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(run(values) - expected)).toBeLessThanOrEqual(1e-6 * expected);
  });

  it('gives the same bits every time', () => {
    const values = numbers({ shape: [50_001], key: 102 });
    expect(run(values)).toBe(run(values));
  });

  it('shows a NaN and an overflow anywhere', () => {
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const values = new Array<number>(5001).fill(0.5);
      values[5000] = odd;
      expect(run(values)).toBe(Number.isNaN(odd) ? Number.NaN : Number.POSITIVE_INFINITY);
    }
    expect(run([3e38, 1])).toBe(Number.POSITIVE_INFINITY);
  });
});
