import { describe, expect, it } from 'vitest';
import { expectSame } from '../../../test/support/closeness.ts';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import {
  evaluate,
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { Tape } from '../../autograd/tape.ts';
import { EngineError, ShapeError, UsageError } from '../../base/errors.ts';
import { counterTensor } from '../../tensor/counter.ts';
import type { Engine } from '../../tensor/engine.ts';
import { dropoutRule, philox4x32 } from '../../tensor/philox.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { weightedSum } from '../weighted-sum/op.ts';
import { biasDropoutAdd, type DropoutAt, dropout } from './op.ts';

const place = { probability: 0.3, seed: 1234, site: 7, firstSample: 5 };

const dropoutCase = (shape: readonly number[], at = place): OperatorCase<'x'> => ({
  inputs: { x: { shape, key: 111 } },
  apply: ({ x }) => dropout(x, at),
});

const biasCase = (shape: readonly number[], at = place): OperatorCase<'x' | 'bias' | 'residual'> => ({
  inputs: {
    x: { shape, key: 112 },
    bias: { shape: [shape.at(-1) ?? 0], key: 113 },
    residual: { shape, key: 114 },
  },
  apply: ({ x, bias, residual }) => biasDropoutAdd(x, bias, residual, at),
});

const withoutBias = (shape: readonly number[], at = place): OperatorCase<'x' | 'residual'> => {
  const { x, residual } = biasCase(shape).inputs;
  return { inputs: { x, residual }, apply: (inputs) => biasDropoutAdd(inputs.x, undefined, inputs.residual, at) };
};

/** x and residual are one tensor. */
const ontoItself = (shape: readonly number[], at = place): OperatorCase<'x' | 'bias'> => {
  const { x, bias } = biasCase(shape).inputs;
  return { inputs: { x, bias }, apply: (inputs) => biasDropoutAdd(inputs.x, inputs.bias, inputs.x, at) };
};

const none = { ...place, probability: 0 };

/** What dropout makes of ones. */
const maskOf = (engine: Engine, shape: readonly number[], at: DropoutAt): number[] =>
  engine.scope(() => dropout(Tensor.from(engine, new Float32Array(sizeOf(shape)).fill(1), shape), at).toArray());

describe('dropout', () => {
  it.each([[[1, 1]], [[2, 3, 5]], [[3, 17]]])('has the gradients of finite differences at %j', (shape) => {
    for (const at of [place, none]) {
      expectFiniteDifferences(dropoutCase(shape, at));
      expectFiniteDifferences(biasCase(shape, at));
      expectFiniteDifferences(withoutBias(shape, at));
      expectFiniteDifferences(ontoItself(shape, at));
    }
  });

  it.each([-0.1, 1, Number.NaN])('refuses the probability %f', (probability) => {
    using engine = exactEngine();
    using x = Tensor.zeros(engine, [2, 3]);
    expect(() => dropout(x, { ...place, probability })).toThrow(UsageError);
  });

  it('refuses a scalar, and a residual or bias that does not fit', () => {
    using engine = exactEngine();
    engine.scope(() => {
      const x = Tensor.zeros(engine, [2, 3]);
      expect(() => dropout(Tensor.zeros(engine, []), place)).toThrow(ShapeError);
      expect(() => biasDropoutAdd(x, undefined, Tensor.zeros(engine, [3, 2]), place)).toThrow(ShapeError);
      expect(() => biasDropoutAdd(x, Tensor.zeros(engine, [2]), x, place)).toThrow(ShapeError);
    });
  });
});

// Scaling by 1/(1 − p) and an addition or two, one rounding (6e-8) each; the bias's gradient is a sum over up to 70 rows.
const tolerances = { output: 3e-7, gradient: 1e-6 };

describeOnEngines('dropout', (engine) => {
  it.each([[[1, 1]], [[7, 7]], [[2, 3, 17]], [[3, 257]], [[2, 35, 65]], [[1, 4099]]])(
    'agrees with float64 at %j',
    (shape) => {
      for (const at of [place, none]) {
        expectAgreesWithExact(engine(), dropoutCase(shape, at), tolerances);
        expectAgreesWithExact(engine(), biasCase(shape, at), tolerances);
        expectAgreesWithExact(engine(), withoutBias(shape, at), tolerances);
      }
    },
  );

  it('takes activations of 16 bits', () => {
    for (const at of [place, { ...place, probability: 0 }]) {
      expectHalvesAgree(engine(), dropoutCase([3, 17], at));
      expectHalvesAgree(engine(), biasCase([2, 3, 65], at), { floats: ['bias'] });
    }
  });

  it('adds to gradients that are there', () => {
    for (const at of [place, none]) {
      expectAccumulates(engine(), dropoutCase([3, 17], at));
      expectAccumulates(engine(), biasCase([2, 3, 5], at));
      expectAccumulates(engine(), ontoItself([2, 3, 5], at));
    }
  });

  it('draws from Philox by sample and element', () => {
    // the definition, written out: element e of sample s has bits (e mod 8) of the block ⌊e/8⌋
    const at = { probability: 0.25, seed: 0xdeadbeef, site: 0x80000001, firstSample: 2 ** 32 + 3 };
    const [samples, elements] = [3, 21];
    const { threshold, scale } = dropoutRule(at.probability);
    const words = new Uint32Array(4);
    const expected = Array.from({ length: samples * elements }, (_, i) => {
      const sample = at.firstSample + Math.floor(i / elements);
      const element = i % elements;
      const counter = [Math.floor(element / 8), 0, sample % 2 ** 32, Math.floor(sample / 2 ** 32)];
      philox4x32(counter, [at.seed, at.site], words);
      const word = words[Math.floor((element % 8) / 2)] ?? 0;
      return (element % 2 ? word >>> 16 : word & 0xffff) < threshold ? 0 : scale;
    });
    expectSame(maskOf(engine(), [samples, elements], at), expected, 'mask');
  });

  it('gives a sample the same mask however the batch is cut', () => {
    const shape = [3, 37]; // 111 elements a sample, no multiple of eight
    const whole = maskOf(engine(), [8, ...shape], place);
    const size = sizeOf(shape);
    for (const rows of [1, 2, 4]) {
      for (let first = 0; first < 8; first += rows) {
        const part = maskOf(engine(), [rows, ...shape], { ...place, firstSample: place.firstSample + first });
        expectSame(part, whole.slice(first * size, (first + rows) * size), `rows ${first} to ${first + rows}`);
      }
    }
  });

  it('gives biasDropoutAdd the mask of dropout, forward and backward', () => {
    const shape = [2, 3, 17];
    const mask = maskOf(engine(), shape, place);
    const { output, gradients } = evaluate(engine(), withoutBias(shape));
    const { output: x } = evaluate(engine(), withoutBias(shape, none));
    expect(mask.filter((factor) => factor === 0).length).toBeGreaterThan(0);
    for (const [i, factor] of mask.entries()) {
      if (factor !== 0) continue;
      expect(output[i]).not.toBe(x[i]);
      expect(gradients['x']?.[i]).toBe(0);
    }
  });

  it.each([0.1, 0.5, 0.9])('drops a share of %f within the binomial bounds', (probability) => {
    const count = 40_000;
    const mask = maskOf(engine(), [4, count / 4], { ...place, probability });
    const dropped = mask.filter((factor) => factor === 0).length;
    const deviation = Math.sqrt(count * probability * (1 - probability));
    expect(Math.abs(dropped - count * probability)).toBeLessThan(4 * deviation);
    // what stays is scaled so that the mean is kept: 1/(1 − p) with p in steps of 1/65536
    const { scale } = dropoutRule(probability);
    expect(Math.abs(scale * (1 - probability) - 1)).toBeLessThan(1e-4);
    expect(mask.every((factor) => factor === 0 || factor === scale)).toBe(true);
  });

  it('gives other sites, seeds and samples other masks', () => {
    const shape = [1, 4096];
    const masks = [place, { ...place, seed: 1235 }, { ...place, site: 8 }, { ...place, firstSample: 6 }].map((at) =>
      maskOf(engine(), shape, { ...at, probability: 0.5 }),
    );
    for (const [i, a] of masks.entries()) {
      for (const b of masks.slice(i + 1)) {
        const equal = a.filter((factor, at) => factor === b[at]).length;
        expect(Math.abs(equal - 2048)).toBeLessThan(4 * 32); // independent: half of them, deviation 32
      }
    }
  });

  it('reads the number of its samples from memory as it is given one', () => {
    const firstSample = 2 ** 32 + 2 ** 31 + 5; // both words, and a low one with its highest bit
    using counter = counterTensor(engine(), firstSample);
    const at = { ...place, firstSample: counter };
    const masks = [5, 13].map((width) => [3, width]);
    for (const shape of masks) {
      expect(maskOf(engine(), shape, at)).toEqual(maskOf(engine(), shape, { ...place, firstSample }));
      engine().scope(() => {
        const x = Tensor.from(engine(), new Float32Array(sizeOf(shape)).fill(1), shape, { requiresGrad: true });
        x.grad = Tensor.zeros(engine(), shape);
        using tape = new Tape(engine());
        const y = dropout(x, at);
        tape.backward(weightedSum(y, Tensor.from(engine(), new Float32Array(sizeOf(shape)).fill(1), shape)));
        expect(x.grad.toArray()).toEqual(y.toArray());
      });
    }
    using wrong = Tensor.zeros(engine(), [3], { dtype: 'i32' });
    expect(() => maskOf(engine(), [2, 8], { ...place, firstSample: wrong })).toThrow(EngineError);
    using float = Tensor.zeros(engine(), [2]);
    expect(() => maskOf(engine(), [2, 8], { ...place, firstSample: float })).toThrow(EngineError);
  });

  it('keeps NaN and infinity where they are not dropped, and removes them where they are', () => {
    const on = engine();
    const mask = maskOf(on, [1, 64], place);
    on.scope(() => {
      for (const odd of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const x = Tensor.from(on, new Float32Array(64).fill(odd), [1, 64]);
        const expected = mask.map((factor) => (factor === 0 ? 0 : odd));
        expect(dropout(x, place).toArray()).toEqual(expected);
        expect(biasDropoutAdd(x, undefined, Tensor.zeros(on, [1, 64]), place).toArray()).toEqual(expected);
      }
    });
  });

  it('gives PyTorch’s figures without dropout', () => {
    expectGolden<'x' | 'bias' | 'residual'>(
      engine(),
      'biasDropoutAdd',
      ({ x, bias, residual }) => biasDropoutAdd(x, bias, residual, none),
      tolerances,
    );
  });
});
