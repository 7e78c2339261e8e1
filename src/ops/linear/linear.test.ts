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
import { Tensor } from '../../tensor/tensor.ts';
import type { GeluForm } from '../gelu/kernels.ts';
import { weightedSum } from '../weighted-sum/op.ts';
import { geluLinear, linear, linearGelu } from './op.ts';

type Names = 'x' | 'weight' | 'bias';
type Apply = (inputs: Record<Names, Tensor>) => Tensor;

const variants: Record<string, Apply> = {
  linear: ({ x, weight, bias }) => linear(x, weight, bias),
  'linearGelu erf': ({ x, weight, bias }) => linearGelu(x, weight, bias, 'erf'),
  'linearGelu tanh': ({ x, weight, bias }) => linearGelu(x, weight, bias, 'tanh'),
};
const names = Object.keys(variants);

const linearCase = (name: string, shape: readonly number[], outputs: number): OperatorCase<Names> => {
  const inputs = shape.at(-1) ?? 0;
  return {
    inputs: {
      x: { shape, key: 41 },
      weight: { shape: [outputs, inputs], key: 42, scale: 0.5 },
      bias: { shape: [outputs], key: 43, scale: 0.5 },
    },
    apply: variants[name] as Apply,
  };
};

const withoutBias = (shape: readonly number[], outputs: number): OperatorCase<'x' | 'weight'> => {
  const { x, weight } = linearCase('linear', shape, outputs).inputs;
  return { inputs: { x, weight }, apply: (tensors) => linear(tensors.x, tensors.weight) };
};

const geluForms: readonly GeluForm[] = ['erf', 'tanh'];

/** `scale` of what goes into GELU, so that its slope is no constant. */
const geluLinearCase = (form: GeluForm, shape: readonly number[], outputs: number): OperatorCase<'x' | 'weight'> => {
  const { x, weight } = linearCase('linear', shape, outputs).inputs;
  return { inputs: { x: { ...x, scale: 2 }, weight }, apply: (tensors) => geluLinear(tensors.x, tensors.weight, form) };
};

describe.each(geluForms)('geluLinear %s', (form) => {
  it.each([
    [[1, 1], 1],
    [[2, 3, 5], 7],
  ])('has the gradients of finite differences from %j to %i', (shape, outputs) => {
    expectFiniteDifferences(geluLinearCase(form, shape, outputs));
  });
});

describe.each(names)('%s', (name) => {
  it.each([
    [[1, 1], 1],
    [[2, 3, 5], 7],
    [[7, 3], 1],
  ])('has the gradients of finite differences from %j to %i', (shape, outputs) => {
    expectFiniteDifferences(linearCase(name, shape, outputs));
  });
});

describe('linear', () => {
  it('has the gradients of finite differences without a bias', () =>
    expectFiniteDifferences(withoutBias([2, 3, 5], 7)));

  it('refuses weights and biases that do not fit', () => {
    using engine = exactEngine();
    engine.scope(() => {
      const x = Tensor.zeros(engine, [2, 3]);
      expect(() => linear(x, Tensor.zeros(engine, [4, 2]))).toThrow(ShapeError);
      expect(() => linear(x, Tensor.zeros(engine, [3]))).toThrow(ShapeError);
      expect(() => linear(x, Tensor.zeros(engine, [4, 3]), Tensor.zeros(engine, [3]))).toThrow(ShapeError);
    });
  });
});

// A sum of k products in float32 errs by about √k units in the last place (6e-8 each); k is 257 at most here.
const tolerances = { output: 2e-6, gradient: 2e-6 };

describeOnEngines('linear', (engine) => {
  describe.each(names)('%s', (name) => {
    it.each([
      [[1, 1], 1],
      [[1, 7], 17],
      [[17, 5], 1],
      [[2, 7, 65], 33],
      [[33, 257], 65],
      [[129, 17], 257],
    ])('agrees with float64 from %j to %i', (shape, outputs) => {
      expectAgreesWithExact(engine(), linearCase(name, shape, outputs), tolerances);
    });

    it('adds to gradients that are there', () => expectAccumulates(engine(), linearCase(name, [2, 3, 5], 7)));

    it.each([
      [[1, 7], 17],
      [[2, 7, 65], 33],
      [[70, 130], 65],
    ])('takes activations of 16 bits from %j to %i', (shape, outputs) => {
      // linearGelu rounds twice, x·Wᵀ and its own result; on a GPU the bias is rounded, too
      const twice = name === 'linear' && engine().name !== 'cuda' ? 1 : 2;
      const names16 = { floats: ['bias'], weights: ['weight'] } as const;
      const limits = { output: twice * 2 ** -8, gradient: twice * 2 ** -7 };
      expectHalvesAgree(engine(), linearCase(name, shape, outputs), names16, limits);
    });

    it('passes NaN on, to its own row only', () => {
      const test = linearCase(name, [3, 5], 7);
      const values = new Array<number>(15).fill(0);
      values[6] = Number.NaN; // its weights may be 0 and must not hide it
      const weight = new Array<number>(35).fill(0);
      const { output } = evaluate(engine(), {
        ...test,
        inputs: { ...test.inputs, x: { shape: [3, 5], values }, weight: { shape: [7, 5], values: weight } },
      });
      expect(output.map(Number.isNaN)).toEqual(Array.from({ length: 21 }, (_, i) => i >= 7 && i < 14));
    });
  });

  describe.each(geluForms)('geluLinear %s', (form) => {
    it.each([
      [[1, 1], 1],
      [[2, 7, 65], 33],
      [[33, 264], 65],
    ])('agrees with float64 from %j to %i', (shape, outputs) => {
      expectAgreesWithExact(engine(), geluLinearCase(form, shape, outputs), tolerances);
    });

    it('adds to gradients that are there', () => expectAccumulates(engine(), geluLinearCase(form, [2, 3, 5], 7)));

    it.each([
      [[1, 7], 17],
      [[2, 7, 64], 33], // rows of 64, on a GPU by the product's own epilogue
      [[70, 130], 65],
    ])('takes activations of 16 bits from %j to %i', (shape, outputs) => {
      // gelu(u) is rounded before the product and its result after it; so may the product be before GELU's slope
      const limits = { output: 2 * 2 ** -8, gradient: 2 * 2 ** -7 };
      expectHalvesAgree(engine(), geluLinearCase(form, shape, outputs), { weights: ['weight'] }, limits);
    });
  });

  it('agrees with float64 without a bias', () => {
    expectAgreesWithExact(engine(), withoutBias([7, 65], 17), tolerances);
    expectAccumulates(engine(), withoutBias([7, 65], 17));
  });

  it('computes linearGelu as gelu does, also where only some inputs ask for gradients', () => {
    const on = engine();
    const specs = {
      x: { shape: [5, 7], key: 41 },
      weight: { shape: [3, 7], key: 42, scale: 0.5 },
      bias: { shape: [3], key: 43, scale: 0.5 },
    };
    const all = evaluate(on, linearCase('linearGelu erf', [5, 7], 3));
    for (const asked of ['x', 'weight', 'bias'] as const) {
      const gradient = on.scope(() => {
        const leaf = (name: Names): Tensor =>
          Tensor.from(on, numbers(specs[name]), specs[name].shape, { requiresGrad: name === asked });
        const leaves = { x: leaf('x'), weight: leaf('weight'), bias: leaf('bias') };
        using tape = new Tape(on);
        const y = linearGelu(leaves.x, leaves.weight, leaves.bias, 'erf');
        tape.backward(weightedSum(y, Tensor.from(on, numbers({ shape: [5, 3], key: 999 }), [5, 3])));
        for (const name of ['x', 'weight', 'bias'] as const) {
          if (name !== asked) expect(leaves[name].grad, name).toBeUndefined();
        }
        const values = leaves[asked].grad?.toArray() ?? [];
        leaves[asked].grad?.[Symbol.dispose]();
        return values;
      });
      expectClose(gradient, all.gradients[asked] ?? [], 1e-6, asked);
    }
  });

  it.each(['linear 2 x 7 x 5 to 17', 'linear 1 x 65 to 1', 'linearGelu erf', 'linearGelu tanh'])(
    'gives PyTorch’s figures for %s',
    (golden) => {
      const name = golden.startsWith('linearGelu') ? golden : 'linear';
      expectGolden<Names>(engine(), golden, variants[name] as Apply, tolerances);
    },
  );
});
