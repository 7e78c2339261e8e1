import { expect, it } from 'vitest';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { factorCount, updateFactors } from './kernels.ts';

describeOnEngines('updateFactors', (engine) => {
  interface Case {
    readonly squares: readonly number[];
    readonly scale?: number;
    readonly bound?: number;
    /** The first factor of the update before. */
    readonly before?: number;
    readonly sticky?: number;
    readonly loss?: number;
  }
  const run = ({ squares, scale = 1, bound = 0, before = 0, sticky = 0, loss = 3 }: Case) =>
    engine().scope(() => {
      const parts = Tensor.from(engine(), squares, [squares.length]);
      const rates = Tensor.from(engine(), [scale, bound, 0.25, 3, 0.5], [5]);
      const factors = Tensor.from(engine(), [before, 9, 9, 9], [factorCount]);
      const norm = Tensor.empty(engine(), [1]);
      const sum = Tensor.from(engine(), [loss], []);
      updateFactors(engine(), parts, sum, rates, factors, norm, squares.length, sticky);
      const [first, ...rest] = factors.toArray();
      expect(rest).toEqual([0.25, 3, 0.5]);
      return { norm: norm.item(), first };
    });

  it('is Megatron’s factor of clipping, the loss scale divided out', () => {
    expect(run({ squares: [9, 0, 16] })).toEqual({ norm: 5, first: 1 });
    expect(run({ squares: [9, 16], bound: 7 })).toEqual({ norm: 5, first: 1 });
    expect(run({ squares: [0], bound: 1 })).toEqual({ norm: 0, first: 1 });
    expect(run({ squares: [9, 16], bound: 1 })).toEqual({ norm: 5, first: Math.fround(1 / (5 + 1e-6)) });
    // Megatron's 1e-6 makes a gradient of just the bound a little shorter
    expect(run({ squares: [1], bound: 1 }).first).toBe(Math.fround(1 / (1 + 1e-6)));
    expect(run({ squares: [64], scale: 4, bound: 1 })).toEqual({ norm: 2, first: Math.fround(1 / (2 + 1e-6) / 4) });
    expect(run({ squares: [64], scale: 4 })).toEqual({ norm: 2, first: 0.25 });
  });

  it('adds up squares whose sum is beyond float32', () => {
    const { norm } = run({ squares: [3e38, 3e38] });
    expect(Math.abs(norm / Math.sqrt(6e38) - 1)).toBeLessThan(1e-7);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('stops the update where the norm is %f', (odd) => {
    expect(run({ squares: [1, odd], bound: 1 })).toEqual({ norm: odd, first: Number.NaN });
    expect(run({ squares: [odd] })).toEqual({ norm: odd, first: Number.NaN });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('stops the update where the loss is %f', (loss) => {
    expect(run({ squares: [9, 16], loss })).toEqual({ norm: 5, first: Number.NaN });
  });

  it('keeps what was stopped stopped, where asked', () => {
    expect(run({ squares: [4], before: Number.NaN, sticky: 1 })).toEqual({ norm: 2, first: Number.NaN });
    expect(run({ squares: [4], before: Number.NaN })).toEqual({ norm: 2, first: 1 });
    expect(run({ squares: [4], before: 0.5, sticky: 1 })).toEqual({ norm: 2, first: 1 });
  });
});
