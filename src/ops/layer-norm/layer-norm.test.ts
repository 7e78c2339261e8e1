import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import { numbers } from '../../../test/support/numbers.ts';
import {
  evaluate,
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { Tape } from '../../autograd/tape.ts';
import { ShapeError } from '../../base/errors.ts';
import { halfTypes } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { weightedSum } from '../weighted-sum/op.ts';
import { layerNorm } from './op.ts';

type Names = 'x' | 'gamma' | 'beta';

const layerNormCase = (shape: readonly number[], scale = 1, offset = 0): OperatorCase<Names> => {
  const width = shape.at(-1) ?? 0;
  return {
    inputs: {
      x: { shape, key: 1, scale, offset },
      gamma: { shape: [width], key: 2, scale: 0.5, offset: 1 },
      beta: { shape: [width], key: 3, scale: 0.5 },
    },
    apply: ({ x, gamma, beta }) => layerNorm(x, gamma, beta),
  };
};

describe('layerNorm', () => {
  it.each([[[3, 1]], [[2, 3, 5]], [[2, 17]]])('has the gradients of finite differences at %j', (shape) => {
    expectFiniteDifferences(layerNormCase(shape));
  });

  it('refuses scales that do not fit the last dimension', () => {
    using engine = exactEngine();
    using x = Tensor.zeros(engine, [2, 3]);
    using wrong = Tensor.zeros(engine, [2]);
    expect(() => layerNorm(x, wrong, wrong)).toThrow(ShapeError);
  });
});

// Each row is two sums of `width` float32 numbers: an error of a few units in the last place, 6e-8 each.
const tolerances = { output: 1e-6, gradient: 2e-6 };
// A row of one number has variance 0 and 1/√ε = 316: that times the rounding of dy is all its gradient (in truth 0) holds.
const toleranceOf = (width: number) => (width === 1 ? { ...tolerances, gradientFloor: 316 } : tolerances);

describeOnEngines('layerNorm', (engine) => {
  it.each([[[1, 1]], [[7, 1]], [[17, 5]], [[3, 7, 17]], [[5, 65]], [[37, 257]], [[70, 768]]])(
    'agrees with float64 at %j',
    (shape) => {
      expectAgreesWithExact(engine(), layerNormCase(shape), toleranceOf(shape.at(-1) ?? 0));
    },
  );

  it('keeps its accuracy for rows far from zero', () => {
    // A mean near 1e4 is kept as float32, whose spacing there is 1e-3: half of that over a deviation of 0.58 is 8.5e-4.
    const far = { output: 2e-3, gradient: 2e-3 };
    expectAgreesWithExact(engine(), layerNormCase([5, 257], 1, 1e4), far);
    const name = 'layerNorm offset 10000';
    expectGolden<Names>(engine(), name, ({ x, gamma, beta }) => layerNorm(x, gamma, beta), far);
  });

  it('adds to gradients that are there', () => expectAccumulates(engine(), layerNormCase([3, 17])));

  it('takes activations of 16 bits', () =>
    expectHalvesAgree(engine(), layerNormCase([5, 65]), { floats: ['gamma', 'beta'] }));

  it.each(halfTypes)('gives its weights their gradients where a %s input asks for none', (dtype) => {
    const on = engine();
    on.scope(() => {
      const x = Tensor.from(on, [1, 2, 3, 4, 4, 4], [2, 3], { dtype });
      const [gamma, beta] = [1, 0].map((value) => Tensor.from(on, [value, value, value], [3], { requiresGrad: true }));
      if (!gamma || !beta) throw new Error('two tensors');
      using tape = new Tape(on);
      tape.backward(weightedSum(layerNorm(x, gamma, beta), Tensor.from(on, [1, 2, 3, 4, 5, 6], [2, 3])));
      const normal = Math.sqrt(1.5); // of the first row: −√1.5, 0, √1.5; the second is zeros
      expectClose(gamma.grad?.toArray() ?? [], [-normal, 0, 3 * normal], 1e-4, 'gradient of gamma'); // ε is 1e-5
      expect(beta.grad?.toArray()).toEqual([5, 7, 9]);
    });
  });

  it('normalizes a row of one value to beta', () => {
    const test = layerNormCase([2, 5]);
    const { output } = evaluate(engine(), {
      ...test,
      inputs: { ...test.inputs, x: { shape: [2, 5], values: new Array<number>(10).fill(3) } },
    });
    const beta = numbers({ ...test.inputs.beta, key: 3 });
    expect(output).toEqual([...beta, ...beta]);
  });

  it('keeps NaN and infinity to their own row', () => {
    using x = Tensor.from(engine(), [1, 2, Number.NaN, 1, 2, 3, Number.POSITIVE_INFINITY, 0, 0], [3, 3]);
    using gamma = Tensor.from(engine(), [1, 1, 1], [3]);
    using beta = Tensor.from(engine(), [0, 0, 0], [3]);
    using y = layerNorm(x, gamma, beta);
    const values = y.toArray();
    expect(values.slice(0, 3).every(Number.isNaN)).toBe(true);
    expect(values.slice(3, 6).every(Number.isFinite)).toBe(true);
    expect(values.slice(6).every(Number.isNaN)).toBe(true);
  });

  it('gives the same bits wherever its sums lie in memory', () => {
    const on = engine();
    on.scope(() => {
      const seen = new Set<string>();
      for (let i = 0; i < (on.name === 'cuda' ? 20 : 500); i++) {
        seen.add(JSON.stringify(evaluate(on, layerNormCase([10, 8])).gradients));
        for (let shift = 0; shift < (i * 7) % 5; shift++) Tensor.empty(on, [1 + ((i * 13) % 300)]); // moves what comes next
      }
      expect(seen.size).toBe(1);
    });
  });

  it.each([1, 5, 65, 257])('gives PyTorch’s figures at width %i', (width) => {
    const name = `layerNorm width ${width}`;
    expectGolden<Names>(engine(), name, ({ x, gamma, beta }) => layerNorm(x, gamma, beta), toleranceOf(width));
  });
});
