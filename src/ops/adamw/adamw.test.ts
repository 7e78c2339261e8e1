import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { cpuEngine, describeOnEngines, exactEngine, noCpuEngine } from '../../../test/support/engines.ts';
import { goldens } from '../../../test/support/golden.ts';
import { decodeFloats, numbers } from '../../../test/support/numbers.ts';
import { type HalfType, halfTypes } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { cast } from '../cast/op.ts';
import { adamWStep } from './kernels.ts';

const [learningRate, beta1, beta2, epsilon, decay] = [0.01, 0.9, 0.999, 1e-8, 0.1];

interface State {
  readonly parameters: number[];
  readonly first: number[];
  readonly second: number[];
}

/** Steps on gradients made by key, as torch_ops_fixture.py makes them. */
function train(engine: Engine, size: number, steps: number, gradientScale = 1, copyType?: HalfType): State {
  return engine.scope(() => {
    const p = Tensor.from(engine, numbers({ shape: [size], key: 900 }), [size]);
    const m = Tensor.zeros(engine, [size]);
    const v = Tensor.zeros(engine, [size]);
    const copy = copyType && Tensor.zeros(engine, [size], { dtype: copyType });
    for (let step = 1; step <= steps; step++) {
      const values = numbers({ shape: [size], key: 900 + step }).map((value) => value / gradientScale);
      const gradient = Tensor.from(engine, values, [size]);
      const rates = [learningRate / (1 - beta1 ** step), 1 / Math.sqrt(1 - beta2 ** step), learningRate * decay];
      const factors = Tensor.from(engine, [gradientScale, ...rates], [4]);
      adamWStep(engine, p, gradient, m, v, copy, factors, size, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, 1);
    }
    const rounded = copyType && cast(p, copyType).toArray();
    expect(copy?.toArray()).toEqual(rounded);
    return { parameters: p.toArray(), first: m.toArray(), second: v.toArray() };
  });
}

const { adamw } = goldens;

describe('adamWStep', () => {
  it('is PyTorch’s AdamW to double precision', () => {
    using engine = exactEngine();
    const { parameters, first, second } = train(engine, adamw.size, adamw.steps);
    // the figures are kept as float32
    expectClose(parameters, decodeFloats(adamw.parameters), 6e-8, 'parameters');
    expectClose(first, decodeFloats(adamw.firstMoments), 6e-8, 'first moments');
    expectClose(second, decodeFloats(adamw.secondMoments), 6e-8, 'second moments', 0);
  });
});

describe.skipIf(noCpuEngine)('adamWStep on threads', () => {
  // Elements that one thread takes by whole vectors are the last few of another's share when there are more.
  it.each(halfTypes)('rounds the smallest numbers to the same %s copy for every thread count', async (dtype) => {
    const size = 3 * 16_384 + 37;
    const tiny = Float32Array.from({ length: size }, (_, i) => (1 + i / size) * (dtype === 'bf16' ? 1e-39 : 1e-6));
    const copies: string[] = [];
    for (const threads of [1, 2, 3]) {
      using on = await cpuEngine({ threads });
      on.scope(() => {
        const p = Tensor.from(on, tiny, [size]);
        const [gradient, m, v] = [Tensor.zeros(on, [size]), Tensor.zeros(on, [size]), Tensor.zeros(on, [size])];
        const copy = Tensor.zeros(on, [size], { dtype });
        const factors = Tensor.from(on, [1, learningRate, 1, learningRate], [4]);
        adamWStep(on, p, gradient, m, v, copy, factors, size, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, 0);
        copies.push(Buffer.from(copy.bytes).toString('hex'));
      });
    }
    expect(new Set(copies).size).toBe(1);
  });
});

describeOnEngines('adamWStep', (engine) => {
  // Ten updates, a few float32 roundings (6e-8) each.
  it('matches PyTorch over ten steps', () => {
    const { parameters, first, second } = train(engine(), adamw.size, adamw.steps);
    expectClose(parameters, decodeFloats(adamw.parameters), 5e-7, 'parameters');
    expectClose(first, decodeFloats(adamw.firstMoments), 5e-7, 'first moments');
    expectClose(second, decodeFloats(adamw.secondMoments), 5e-7, 'second moments', 0);
  });

  it.each([1, 7, 16_385, 33_001])('agrees with float64 for %i parameters', (size) => {
    using exact = exactEngine();
    const expected = train(exact, size, 3);
    const actual = train(engine(), size, 3);
    expectClose(actual.parameters, expected.parameters, 5e-7, 'parameters');
    expectClose(actual.first, expected.first, 5e-7, 'first moments');
    expectClose(actual.second, expected.second, 5e-7, 'second moments', 0);
  });

  it('scales gradients on the way, without losing tiny ones', () => {
    const plain = train(engine(), 33, 3);
    const scaled = train(engine(), 33, 3, 2 ** 20);
    expect(scaled).toEqual(plain); // a power of two: no rounding at all
  });

  it.each(halfTypes)('keeps a copy in %s', (type) => {
    expect(train(engine(), 1031, 3, 1, type)).toEqual(train(engine(), 1031, 3));
  });

  it('lets a NaN in a gradient through to its own parameter only', () => {
    const on = engine();
    on.scope(() => {
      const [p, m, v] = [Tensor.zeros(on, [3]), Tensor.zeros(on, [3]), Tensor.zeros(on, [3])];
      const gradient = Tensor.from(on, [1, Number.NaN, 1], [3]);
      const factors = Tensor.from(on, [1, 0.01, 1, 0], [4]);
      adamWStep(on, p, gradient, m, v, undefined, factors, 3, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, 0);
      expect(p.toArray().map(Number.isNaN)).toEqual([false, true, false]);
    });
  });

  it.each([0, 1])('decays where it is told to: %i', (decays) => {
    const on = engine();
    on.scope(() => {
      const [p, m, v] = [Tensor.from(on, [2, -4], [2]), Tensor.zeros(on, [2]), Tensor.zeros(on, [2])];
      const gradient = Tensor.zeros(on, [2]);
      const factors = Tensor.from(on, [1, 0.5, 1, 0.25], [4]);
      adamWStep(on, p, gradient, m, v, undefined, factors, 2, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, decays);
      expect(p.toArray()).toEqual(decays ? [1.5, -3] : [2, -4]);
    });
  });

  it('changes nothing where the scale is no number', () => {
    const on = engine();
    on.scope(() => {
      const all = [1, 2, 3].map((value) => Tensor.from(on, new Float32Array(19).fill(value), [19]));
      const [p, m, v] = all as [Tensor, Tensor, Tensor];
      const copy = Tensor.from(on, new Float32Array(19).fill(7), [19], { dtype: 'bf16' });
      const gradient = Tensor.from(on, new Float32Array(19).fill(Number.NaN), [19]);
      const factors = Tensor.from(on, [Number.NaN, 0.5, 1, 0.25], [4]);
      adamWStep(on, p, gradient, m, v, copy, factors, 19, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, 1);
      for (const [i, tensor] of [p, m, v].entries()) expect(new Set(tensor.toArray())).toEqual(new Set([i + 1]));
      expect(new Set(copy.toArray())).toEqual(new Set([7]));
    });
  });
});
