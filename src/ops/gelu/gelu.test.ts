import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import {
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { erf, type GeluForm } from './kernels.ts';
import { gelu } from './op.ts';

const forms: readonly GeluForm[] = ['erf', 'tanh'];

const geluCase = (form: GeluForm, shape: readonly number[], scale = 4): OperatorCase<'x'> => ({
  inputs: { x: { shape, key: 12, scale } },
  apply: ({ x }) => gelu(x, form),
});

describe('erf', () => {
  // figures of the C library's erf; 2.5 is where our two expansions meet
  it.each([
    [0, 0],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.4999, 0.9995928300996669],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [5, 0.9999999999984626],
  ])('of %f is %f, and odd', (x, expected) => {
    expect(erf(x)).toBeCloseTo(expected, 15);
    expect(erf(-x)).toBeCloseTo(-expected, 15);
  });

  it('is ±1 at infinity and NaN at NaN', () => {
    expect(erf(Number.POSITIVE_INFINITY)).toBe(1);
    expect(erf(Number.NEGATIVE_INFINITY)).toBe(-1);
    expect(erf(Number.NaN)).toBeNaN();
  });
});

describe.each(forms)('gelu (%s)', (form) => {
  it.each([[[1]], [[2, 7]], [[17]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(geluCase(form, shape));
  });
});

// erf and tanh are polynomials good to 2e-7; times x they keep that error relative to the largest value.
const tolerances = { output: 4e-7, gradient: 1e-6 };

describeOnEngines('gelu', (engine) => {
  describe.each(forms)('%s', (form) => {
    it.each([[[1]], [[7]], [[17]], [[5, 257]], [[3, 16411]]])('agrees with float64 at %j', (shape) => {
      expectAgreesWithExact(engine(), geluCase(form, shape), tolerances);
    });

    it('takes activations of 16 bits', () => expectHalvesAgree(engine(), geluCase(form, [3, 17])));

    it('adds to gradients that are there', () => expectAccumulates(engine(), geluCase(form, [17])));

    it('is x above and exactly 0 below for large values', () => {
      using x = Tensor.from(engine(), [1e4, 12, -14, -1e4, 3e38, -3e38], [6]);
      using y = gelu(x, form);
      expect(y.toArray().map(Math.abs)).toEqual([1e4, 12, 0, 0, Math.fround(3e38), 0]);
    });

    it('passes NaN and +infinity on', () => {
      using x = Tensor.from(engine(), [Number.NaN, Number.POSITIVE_INFINITY, 1], [3]);
      using y = gelu(x, form);
      const [nan, infinity, one] = y.toArray();
      expect(nan).toBeNaN();
      expect(infinity).toBe(Number.POSITIVE_INFINITY);
      expect(one).toBeCloseTo(0.841, 3);
    });

    it.each([`gelu ${form}`, `gelu ${form} large`])('gives PyTorch’s figures for %s', (name) => {
      expectGolden<'x'>(engine(), name, ({ x }) => gelu(x, form), tolerances);
    });
  });
});
