import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import {
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { ShapeError } from '../../base/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { add } from '../add/op.ts';
import { multiply } from '../multiply/op.ts';
import { reshape } from './op.ts';

const reshapeCase: OperatorCase<'x'> = {
  inputs: { x: { shape: [2, 3, 5], key: 71 } },
  apply: ({ x }) => reshape(x, [5, 6]),
};

/**
 * The gradient of the sum goes on to both of its inputs without a copy, one of them through a reshape, and then x gets more:
 * that addition must not be seen by the other.
 */
const sharedGradient: OperatorCase<'x' | 'other'> = {
  inputs: { x: { shape: [2, 3], key: 72 }, other: { shape: [6], key: 73 } },
  apply: ({ x, other }) => {
    const squares = multiply(x, x);
    return add(reshape(squares, [6]), add(reshape(x, [6]), other));
  },
};

describe('reshape', () => {
  it('has the gradients of finite differences', () => {
    expectFiniteDifferences(reshapeCase);
    expectFiniteDifferences(sharedGradient);
  });

  it('refuses another number of elements', () => {
    using engine = exactEngine();
    using x = Tensor.zeros(engine, [2, 3]);
    expect(() => reshape(x, [7])).toThrow(ShapeError);
  });
});

describeOnEngines('reshape', (engine) => {
  it('changes no number', () => {
    expectAgreesWithExact(engine(), reshapeCase, { output: 0, gradient: 1e-7 });
    expectAgreesWithExact(engine(), sharedGradient, { output: 2e-7, gradient: 2e-7 });
  });

  it('adds to gradients that are there', () => {
    expectAccumulates(engine(), reshapeCase);
    expectAccumulates(engine(), sharedGradient);
  });

  it('shares the memory', () => {
    const on = engine();
    using x = Tensor.from(on, [1, 2, 3, 4], [2, 2]);
    const before = on.memory.count().current;
    using y = reshape(x, [4]);
    expect(on.memory.count().current).toBe(before);
    x.write([7], 2);
    expect(y.toArray()).toEqual([1, 2, 7, 4]);
  });
});
