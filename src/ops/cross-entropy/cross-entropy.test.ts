import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import { integers } from '../../../test/support/numbers.ts';
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
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { add } from '../add/op.ts';
import { multiply } from '../multiply/op.ts';
import { weightedSum } from '../weighted-sum/op.ts';
import { crossEntropy } from './op.ts';

const labelsOf = (engine: Engine, rows: number, entries: number, unlabelled?: number): Tensor => {
  const labels = integers(rows, 32, entries);
  if (unlabelled !== undefined) labels[unlabelled] = -1;
  return Tensor.from(engine, labels, [rows], { dtype: 'i32' });
};

interface Options {
  readonly scale?: number;
  readonly entries?: number;
  readonly unlabelled?: number;
}

const crossEntropyCase = (rows: number, stride: number, options: Options = {}): OperatorCase<'logits'> => {
  const { scale = 3, entries = stride, unlabelled } = options;
  return {
    inputs: { logits: { shape: [rows, stride], key: 31, scale } },
    apply: ({ logits }, engine) => crossEntropy(logits, labelsOf(engine, rows, entries, unlabelled), { entries }),
  };
};

describe('crossEntropy', () => {
  it.each([
    [3, 1],
    [3, 5],
    [2, 17],
  ])('has the gradients of finite differences for %i rows of %i', (rows, stride) => {
    expectFiniteDifferences(crossEntropyCase(rows, stride));
  });

  it('has them also with padding columns and unlabelled rows', () => {
    expectFiniteDifferences(crossEntropyCase(4, 7, { entries: 5, unlabelled: 2 }));
  });

  it('refuses labels that do not fit, and more entries than columns', () => {
    using engine = exactEngine();
    engine.scope(() => {
      const logits = Tensor.zeros(engine, [2, 3]);
      expect(() => crossEntropy(logits, labelsOf(engine, 3, 3))).toThrow(ShapeError);
      expect(() => crossEntropy(logits, labelsOf(engine, 2, 3), { entries: 4 })).toThrow(ShapeError);
      expect(() => crossEntropy(logits, labelsOf(engine, 2, 3), { entries: 0 })).toThrow(ShapeError);
    });
  });
});

// One exponential (2 units in the last place) a term, sums in double.
const tolerances = { output: 5e-7, gradient: 1e-6 };

describeOnEngines('crossEntropy', (engine) => {
  it.each([
    [1, 1],
    [7, 5],
    [17, 65],
    [5, 257],
    [3, 9001],
    [300, 131],
  ])('agrees with float64 for %i rows of %i', (rows, stride) => {
    expectAgreesWithExact(engine(), crossEntropyCase(rows, stride), tolerances);
    expectAgreesWithExact(engine(), crossEntropyCase(rows, stride + 3, { entries: stride, unlabelled: 0 }), tolerances);
  });

  it('agrees with float64 for logits of ±3000', () => {
    expectAgreesWithExact(engine(), crossEntropyCase(17, 65, { scale: 3000 }), tolerances);
  });

  it('does not depend on a common offset', () => {
    const values = Array.from({ length: 34 }, (_, i) => (i * 5) % 17);
    const run = (offset: number) =>
      evaluate(engine(), {
        inputs: { logits: { shape: [2, 17], values: values.map((value) => value + offset) } },
        apply: ({ logits }, on) => crossEntropy(logits as Tensor, labelsOf(on, 2, 17)),
      });
    expect(run(1e4)).toEqual(run(0));
  });

  it('takes logits of 16 bits', () => {
    expectHalvesAgree(engine(), crossEntropyCase(5, 65, { entries: 60, unlabelled: 2 }));
  });

  it('adds to gradients that are there', () => expectAccumulates(engine(), crossEntropyCase(3, 17)));

  it('gives padding and unlabelled rows a gradient of exactly 0', () => {
    const { output, gradients } = evaluate(engine(), crossEntropyCase(3, 7, { entries: 5, unlabelled: 1 }));
    expect(output[1]).toBe(0);
    const rows = [0, 1, 2].map((row) => gradients['logits']?.slice(7 * row, 7 * row + 7) ?? []);
    expect(rows[1]?.every((value) => value === 0)).toBe(true);
    for (const row of rows) expect(row.slice(5)).toEqual([0, 0]);
    expect(rows[0]?.slice(0, 5).every((value) => value !== 0)).toBe(true);
  });

  it('gives NaN for a row with NaN or +infinity, and for no other', () => {
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    using logits = Tensor.from(engine(), [1, nan, 2, 1, 2, 3, infinity, 0, 0, nan, nan, nan], [4, 3]);
    using labels = Tensor.from(engine(), [0, 0, 1, 0], [4], { dtype: 'i32' });
    using loss = crossEntropy(logits, labels);
    expect(loss.toArray().map(Number.isNaN)).toEqual([true, false, true, true]);
  });

  it('leaves logits whole that another backward pass still reads', () => {
    // d/dz of Σ CE(z) + Σ z∘z·w = (softmax − one-hot) + 2 z∘w, in whichever order the two were recorded
    const both = (crossEntropyFirst: boolean): OperatorCase<'x'> => ({
      inputs: { x: { shape: [3, 5], key: 33 } },
      apply: ({ x }, on) => {
        const z = add(x, x);
        const weights = Tensor.from(on, new Array<number>(15).fill(0.25), [3, 5]);
        const labels = labelsOf(on, 3, 5);
        const ones = Tensor.from(on, [1, 1, 1], [3]);
        const entropy = (): Tensor => weightedSum(crossEntropy(z, labels), ones);
        const squares = (): Tensor => weightedSum(multiply(z, z), weights);
        const [a, b] = crossEntropyFirst ? [entropy(), squares()] : [squares(), entropy()];
        return add(a as Tensor, b as Tensor);
      },
    });
    expectAgreesWithExact(engine(), both(true), { output: 1e-6, gradient: 1e-6 });
    expectAgreesWithExact(engine(), both(false), { output: 1e-6, gradient: 1e-6 });
    expectFiniteDifferences(both(false));
  });

  it('takes two losses of the same logits', () => {
    const test: OperatorCase<'x'> = {
      inputs: { x: { shape: [3, 5], key: 34 } },
      apply: ({ x }, on) => {
        const z = add(x, x);
        const other = Tensor.from(on, [4, 0, 2], [3], { dtype: 'i32' });
        return add(crossEntropy(z, labelsOf(on, 3, 5)), crossEntropy(z, other));
      },
    };
    expectFiniteDifferences(test);
    expectAgreesWithExact(engine(), test, tolerances);
  });

  it('makes no second copy of logits that nobody else needs', () => {
    const on = engine();
    on.scope(() => {
      const x = Tensor.zeros(on, [64, 1024], { requiresGrad: true });
      x.grad = Tensor.zeros(on, [64, 1024]);
      const labels = labelsOf(on, 64, 1024);
      const ones = Tensor.from(on, new Array<number>(64).fill(1), [64]);
      using tape = new Tape(on);
      const losses = on.scope(() => crossEntropy(add(x, x), labels));
      const loss = weightedSum(losses, ones);
      on.memory.resetPeak();
      const before = on.memory.count().current;
      tape.backward(loss);
      expect(on.memory.count().peak - before).toBeLessThan(8 * 1024);
    });
  });

  it.each(['7 x 65', '3 x 257', '5 x 17 large', '1 entry'])('gives PyTorch’s figures for %s', (name) => {
    expectGolden<'logits'>(
      engine(),
      `crossEntropy ${name}`,
      ({ logits }, { attributes: { labels = [] } }, on) =>
        crossEntropy(logits, Tensor.from(on, labels, [labels.length], { dtype: 'i32' })),
      tolerances,
    );
  });
});
