import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import {
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { ShapeError } from '../../base/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { multiply } from './op.ts';

const multiplyCase = (shape: readonly number[], scale = 1): OperatorCase<'a' | 'b'> => ({
  inputs: { a: { shape, key: 61, scale }, b: { shape, key: 62, scale } },
  apply: ({ a, b }) => multiply(a, b),
});

const withItself = (shape: readonly number[]): OperatorCase<'a'> => ({
  inputs: { a: { shape, key: 61 } },
  apply: ({ a }) => multiply(a, a),
});

describe('multiply', () => {
  it.each([[[1]], [[2, 7]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(multiplyCase(shape));
    expectFiniteDifferences(withItself(shape));
  });

  it('refuses different shapes', () => {
    using engine = exactEngine();
    using a = Tensor.zeros(engine, [2, 3]);
    using b = Tensor.zeros(engine, [3, 2]);
    expect(() => multiply(a, b)).toThrow(ShapeError);
  });
});

// One rounding a number, 6e-8.
const tolerances = { output: 1e-7, gradient: 1e-7 };

describeOnEngines('multiply', (engine) => {
  it.each([[[]], [[1]], [[7]], [[17]], [[3, 5, 257]], [[131_101]]])('agrees with float64 at %j', (shape) => {
    expectAgreesWithExact(engine(), multiplyCase(shape), tolerances);
    expectAgreesWithExact(engine(), multiplyCase(shape, 1e4), tolerances);
  });

  it('takes activations of 16 bits', () => expectHalvesAgree(engine(), multiplyCase([3, 17])));

  it('adds to gradients that are there', () => {
    expectAccumulates(engine(), multiplyCase([17]));
    expectAccumulates(engine(), withItself([17]));
  });

  it('passes NaN and infinity on', () => {
    using a = Tensor.from(engine(), [Number.NaN, Number.POSITIVE_INFINITY, 1], [3]);
    using b = Tensor.from(engine(), [1, 2, 3], [3]);
    using y = multiply(a, b);
    expect(y.toArray()).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 1 * 3]);
  });

  it('gives PyTorch’s figures', () => {
    expectGolden<'a' | 'b'>(engine(), 'multiply', ({ a, b }) => multiply(a, b), tolerances);
  });
});
