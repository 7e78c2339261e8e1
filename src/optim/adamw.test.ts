import { describe, expect, it } from 'vitest';
import { expectClose } from '../../test/support/closeness.ts';
import { describeOnEngines } from '../../test/support/engines.ts';
import { numbers } from '../../test/support/numbers.ts';
import { EngineError } from '../base/errors.ts';
import { Parameters } from '../parallel/parameters.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { AdamW } from './adamw.ts';

const options = { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1 };

function declared(): Parameters {
  const parameters = new Parameters();
  const initial = { kind: 'constant', value: 0 } as const;
  parameters.declare({ name: 'first.weight', globalShape: [3, 5], initial, decay: true });
  parameters.declare({ name: 'first.bias', globalShape: [3], initial, decay: false });
  parameters.declare({ name: 'table.weight', globalShape: [7, 4], paddedRows: 16, initial, decay: true });
  return parameters;
}

/** The same update in plain numbers, straight from the paper (Loshchilov & Hutter 2019, algorithm 2). */
function updated(start: readonly number[], gradients: readonly (readonly number[])[], rate: number, decay: number) {
  return start.map((value, i) => {
    let [p, m, v] = [value, 0, 0];
    for (const [step, gradient] of gradients.entries()) {
      const g = gradient[i] ?? 0;
      m = options.beta1 * m + (1 - options.beta1) * g;
      v = options.beta2 * v + (1 - options.beta2) * g * g;
      const [mean, variance] = [m / (1 - options.beta1 ** (step + 1)), v / (1 - options.beta2 ** (step + 1))];
      p -= rate * (mean / (Math.sqrt(variance) + options.epsilon) + decay * p);
    }
    return { p, m, v };
  });
}

describeOnEngines('AdamW', (engine) => {
  it('updates each parameter by its own gradient, and decays where it is told to', () => {
    using parameters = declared();
    parameters.allocate(engine());
    using optimizer = new AdamW(parameters, options);
    const start = parameters.all.map(({ shape }, key) => numbers({ shape, key }));
    for (const [i, { stored }] of parameters.all.entries()) stored.write(start[i] ?? []);
    const scale = 0.5;
    const steps = [10, 20, 30].map((offset) =>
      parameters.all.map(({ shape }, key) => numbers({ shape, key: key + offset })),
    );
    for (const gradients of steps) {
      parameters.clearGradients();
      for (const [i, { value }] of parameters.all.entries()) value.grad?.write(gradients[i] ?? []);
      optimizer.step(0.01, scale);
    }
    expect(optimizer.steps).toBe(3);
    using states = optimizer.states();
    for (const [i, parameter] of parameters.all.entries()) {
      const { name, spec, stored, value } = parameter;
      const gradients = steps.map((all) => (all[i] ?? []).map((g) => g * scale));
      const expected = updated(start[i] ?? [], gradients, 0.01, spec.decay ? options.weightDecay : 0);
      const own = states.list.filter((state) => state.parameter === parameter);
      expect(own.map((state) => state.name).toSorted()).toEqual(['exp_avg', 'exp_avg_sq']);
      const stateOf = (which: string): ArrayLike<number> =>
        own.find((state) => state.name === which)?.tensor.read() ?? [];
      expectClose(
        stored.read(),
        expected.map(({ p }) => p),
        1e-6,
        name,
      );
      expectClose(
        stateOf('exp_avg'),
        expected.map(({ m }) => m),
        1e-6,
        `mean of ${name}`,
      );
      expectClose(
        stateOf('exp_avg_sq'),
        expected.map(({ v }) => v),
        1e-6,
        `variance of ${name}`,
      );
      // padding has no gradient, and stays zero
      expect(
        value
          .toArray()
          .slice(stored.size)
          .every((padding) => padding === 0),
      ).toBe(true);
    }
  });

  it('gives its memory back', () => {
    const before = engine().memory.count().current;
    {
      using parameters = declared();
      parameters.allocate(engine());
      using _optimizer = new AdamW(parameters, options);
      expect(engine().memory.count('optimizer').current).toBeGreaterThan(0);
    }
    expect(engine().memory.count().current).toBe(before);
  });
});

describe('AdamW', () => {
  it('needs gradients', () => {
    using engine = createReferenceEngine();
    using parameters = declared();
    parameters.allocate(engine, { gradients: false });
    expect(() => new AdamW(parameters, options)).toThrow(EngineError);
  });
});
