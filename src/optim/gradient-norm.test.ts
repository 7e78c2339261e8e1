import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../test/support/engines.ts';
import { Parameters } from '../parallel/parameters.ts';
import { clipFactor, gradientNorm } from './gradient-norm.ts';

describe('clipFactor', () => {
  it('brings a longer gradient to the bound, and leaves a shorter one', () => {
    expect(clipFactor(4, 1)).toBe(1 / (4 + 1e-6));
    expect(clipFactor(2, 5)).toBe(1);
    expect(clipFactor(0, 1)).toBe(1);
    // Megatron's 1e-6 makes a gradient of just the bound a little shorter
    expect(clipFactor(1, 1)).toBe(1 / (1 + 1e-6));
  });

  it('is off at 0', () => expect(clipFactor(1e9, 0)).toBe(1));
});

describeOnEngines('gradientNorm', (engine) => {
  it('is over all parameters, decayed or not, and over nothing else', () => {
    using parameters = new Parameters();
    const initial = { kind: 'constant', value: 1 } as const;
    const weight = parameters.declare({ name: 'w', globalShape: [3, 5], paddedRows: 8, initial, decay: true });
    const bias = parameters.declare({ name: 'b', globalShape: [3], initial, decay: false });
    parameters.allocate(engine());
    expect(gradientNorm(parameters)).toBe(0);
    weight.value.grad?.write(new Float32Array(15).fill(2));
    bias.value.grad?.write([6, 0, -8]);
    expect(gradientNorm(parameters)).toBeCloseTo(Math.sqrt(15 * 4 + 100), 6);
    bias.value.grad?.write([Number.NaN]);
    expect(gradientNorm(parameters)).toBeNaN();
    bias.value.grad?.write([Number.POSITIVE_INFINITY]);
    expect(gradientNorm(parameters)).toBe(Number.POSITIVE_INFINITY);
    parameters.clearGradients();
    expect(gradientNorm(parameters)).toBe(0);
  });
});
