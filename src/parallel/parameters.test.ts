import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../test/support/engines.ts';
import { EngineError, ShapeError } from '../base/errors.ts';
import { type ParameterSpec, Parameters } from './parameters.ts';

const normal = (name: string, more: Partial<ParameterSpec> = {}): ParameterSpec => ({
  ...{ name, globalShape: [10, 6], initial: { kind: 'normal', deviation: 0.5 }, decay: true },
  ...more,
});

describe('Parameters', () => {
  it('refuses a name that is taken, and a slice that leaves its parameter', () => {
    const parameters = new Parameters();
    parameters.declare(normal('w'));
    expect(() => parameters.declare(normal('w'))).toThrow(/w is declared twice/);
    const outside = { offset: [5, 0], shape: [6, 6] };
    expect(() => parameters.declare(normal('v', { slice: outside }))).toThrow(ShapeError);
  });

  it('has no numbers before it is allocated', () => {
    const parameters = new Parameters();
    const weight = parameters.declare(normal('w'));
    for (const use of [() => weight.value, () => weight.stored, () => parameters.groups])
      expect(use).toThrow(EngineError);
  });

  it('counts the whole parameters, without padding', () => {
    const parameters = new Parameters();
    parameters.declare(normal('w', { paddedRows: 16, slice: { offset: [0, 0], shape: [5, 6] } }));
    parameters.declare(normal('b', { globalShape: [7] }));
    expect(parameters.count).toBe(67);
  });
});

describeOnEngines('initial values', (engine) => {
  /** Values of parameters that are declared, allocated and initialized. */
  function valuesOf(specs: readonly ParameterSpec[], seed = 1): number[][] {
    using parameters = new Parameters();
    for (const spec of specs) parameters.declare(spec);
    parameters.allocate(engine());
    parameters.initialize(seed);
    return parameters.all.map(({ value }) => value.toArray());
  }

  it('depend on seed, name and place, not on what else is declared', () => {
    const [alone] = valuesOf([normal('w')]);
    const [other, among] = valuesOf([normal('v'), normal('w')]);
    expect(among).toEqual(alone);
    expect(other).not.toEqual(alone);
    expect(valuesOf([normal('w')], 2)[0]).not.toEqual(alone);
  });

  it('are those of the slice that a rank has', () => {
    const [whole = []] = valuesOf([normal('w')]);
    const [rows] = valuesOf([normal('w', { slice: { offset: [4, 0], shape: [3, 6] } })]);
    expect(rows).toEqual(whole.slice(24, 42));
    const [columns] = valuesOf([normal('w', { slice: { offset: [0, 2], shape: [10, 2] } })]);
    expect(columns).toEqual(Array.from({ length: 10 }, (_, row) => whole.slice(row * 6 + 2, row * 6 + 4)).flat());
  });

  it('are zero in the padding', () => {
    const [whole] = valuesOf([normal('w')]);
    const [padded = []] = valuesOf([normal('w', { paddedRows: 16 })]);
    expect(padded.slice(0, 60)).toEqual(whole);
    expect(padded.slice(60)).toEqual(new Array(36).fill(0));
  });

  it('have the deviation that is asked, or are constant', () => {
    const big = { globalShape: [200, 100] };
    const [values = [], ones] = valuesOf([normal('w', big), normal('b', { initial: { kind: 'constant', value: 1 } })]);
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
    // of 20 000 draws: one part in 200 is the standard error
    expect(Math.abs(deviation / 0.5 - 1)).toBeLessThan(0.02);
    expect(ones?.every((value) => value === 1)).toBe(true);
  });

  it('are freed when the parameters are disposed, which may then be allocated anew', () => {
    const before = engine().memory.count().current;
    const parameters = new Parameters();
    const weight = parameters.declare(normal('w', { paddedRows: 16 }));
    parameters.declare(normal('b', { decay: false }));
    parameters.allocate(engine());
    expect(() => parameters.allocate(engine())).toThrow('allocated already');
    parameters[Symbol.dispose]();
    expect(engine().memory.count().current).toBe(before);
    expect(() => weight.value).toThrow('not allocated');
    parameters.allocate(engine(), { gradients: false });
    expect(weight.value.grad).toBeUndefined();
    expect(engine().memory.count('gradients').current).toBe(0);
    parameters[Symbol.dispose]();
    parameters[Symbol.dispose]();
    expect(engine().memory.count().current).toBe(before);
  });
});
