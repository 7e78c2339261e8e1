import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { numbers } from '../../../test/support/numbers.ts';
import {
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { ShapeError } from '../../base/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { weightedSum } from './op.ts';

const weightedSumCase = (shape: readonly number[], scale = 1): OperatorCase<'x'> => ({
  inputs: { x: { shape, key: 91, scale } },
  apply: ({ x }, engine) => weightedSum(x, Tensor.from(engine, numbers({ shape, key: 92 }), shape)),
});

describe('weightedSum', () => {
  it.each([[[1]], [[3, 7]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(weightedSumCase(shape));
  });

  it('refuses weights of another shape', () => {
    using engine = exactEngine();
    using x = Tensor.zeros(engine, [2, 3]);
    using weights = Tensor.zeros(engine, [6]);
    expect(() => weightedSum(x, weights)).toThrow(ShapeError);
  });
});

// Summed in double: one rounding of the result, 6e-8, whatever the size.
const tolerances = { output: 1e-7, gradient: 1e-7 };

describeOnEngines('weightedSum', (engine) => {
  it.each([[[]], [[1]], [[7]], [[17]], [[65, 257]]])('agrees with float64 at %j', (shape) => {
    expectAgreesWithExact(engine(), weightedSumCase(shape), tolerances);
    expectAgreesWithExact(engine(), weightedSumCase(shape, 1e4), tolerances);
  });

  it('takes activations of 16 bits', () => expectHalvesAgree(engine(), weightedSumCase([3, 17])));

  it('adds to gradients that are there', () => expectAccumulates(engine(), weightedSumCase([17])));

  it('sums terms that cancel in float32', () => {
    using x = Tensor.from(engine(), [1e8, 1, -1e8], [3]);
    using weights = Tensor.from(engine(), [1, 1, 1], [3]);
    using total = weightedSum(x, weights);
    expect(total.item()).toBe(1);
  });

  it('passes NaN and infinity on', () => {
    for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
      using x = Tensor.from(engine(), [1, odd, 2], [3]);
      using weights = Tensor.from(engine(), [1, 1, 1], [3]);
      using total = weightedSum(x, weights);
      expect(total.item()).toBe(odd);
    }
  });
});
