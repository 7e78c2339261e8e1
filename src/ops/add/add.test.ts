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
import { add } from './op.ts';

const addCase = (shape: readonly number[], scale = 1): OperatorCase<'a' | 'b'> => ({
  inputs: { a: { shape, key: 61, scale }, b: { shape, key: 62, scale } },
  apply: ({ a, b }) => add(a, b),
});

const withItself = (shape: readonly number[]): OperatorCase<'a'> => ({
  inputs: { a: { shape, key: 61 } },
  apply: ({ a }) => add(a, a),
});

describe('add', () => {
  it.each([[[1]], [[2, 7]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(addCase(shape));
    expectFiniteDifferences(withItself(shape));
  });

  it('refuses different shapes', () => {
    using engine = exactEngine();
    using a = Tensor.zeros(engine, [2, 3]);
    using b = Tensor.zeros(engine, [3, 2]);
    expect(() => add(a, b)).toThrow(ShapeError);
  });
});

// One rounding a number, 6e-8.
const tolerances = { output: 1e-7, gradient: 1e-7 };

describeOnEngines('add', (engine) => {
  it.each([[[]], [[1]], [[7]], [[17]], [[3, 5, 257]], [[131_101]]])('agrees with float64 at %j', (shape) => {
    expectAgreesWithExact(engine(), addCase(shape), tolerances);
    expectAgreesWithExact(engine(), addCase(shape, 1e4), tolerances);
  });

  it('takes activations of 16 bits', () => expectHalvesAgree(engine(), addCase([3, 17])));

  it('adds to gradients that are there', () => {
    expectAccumulates(engine(), addCase([17]));
    expectAccumulates(engine(), withItself([17]));
  });

  it('passes NaN and infinity on', () => {
    using a = Tensor.from(engine(), [Number.NaN, Number.POSITIVE_INFINITY, 1], [3]);
    using b = Tensor.from(engine(), [1, 2, 3], [3]);
    using y = add(a, b);
    expect(y.toArray()).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 1 + 3]);
  });

  it('gives PyTorch’s figures', () => {
    expectGolden<'a' | 'b'>(engine(), 'add', ({ a, b }) => add(a, b), tolerances);
  });
});
