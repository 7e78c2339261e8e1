/** What every operator's test does: run it, differentiate it, and hold each engine to the same numbers. */

import { expect } from 'vitest';
import { Tape } from '../../src/autograd/tape.ts';
import { add } from '../../src/ops/add/op.ts';
import { weightedSum } from '../../src/ops/weighted-sum/op.ts';
import type { Engine } from '../../src/tensor/engine.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose, expectSame } from './closeness.ts';
import { exactEngine } from './engines.ts';
import { type NumberSpec, numbers } from './numbers.ts';

/** A float input: by its numbers, or by the key that makes them. All inputs are differentiated. */
export type InputSpec = NumberSpec | { readonly shape: readonly number[]; readonly values: readonly number[] };

export interface OperatorCase<Name extends string = string> {
  readonly inputs: Readonly<Record<Name, InputSpec>>;
  /** Constant inputs (ids, labels) are made inside. */
  readonly apply: (inputs: Record<Name, Tensor>, engine: Engine) => Tensor;
  /** Key of the numbers that the output is weighed by to get a scalar. */
  readonly upstreamKey?: number;
}

export interface Outcome {
  readonly output: number[];
  readonly gradients: Record<string, number[]>;
}

export interface RunOptions {
  /** What every leaf's `grad` holds before backward; leaves have no `grad` where not given. */
  readonly existing?: number;
  /** Applies the operator twice to the same inputs and adds the results: all gradients double, by the accumulating path. */
  readonly twice?: boolean;
  /** Puts a sum with zeros before each input, so that gradients meet in an intermediate tensor rather than in a leaf. */
  readonly intermediates?: boolean;
}

const valuesOf = (spec: InputSpec): readonly number[] => ('values' in spec ? spec.values : numbers(spec));

/** Σ output·weights with its gradients. Fails when any tensor is still alive afterwards. */
export function evaluate(engine: Engine, test: OperatorCase, options: RunOptions = {}): Outcome {
  const before = engine.memory.count().current;
  const outcome = engine.scope(() => {
    const leaves: Record<string, Tensor> = {};
    for (const [name, spec] of Object.entries(test.inputs)) {
      const leaf = Tensor.from(engine, valuesOf(spec), spec.shape, { requiresGrad: true });
      if (options.existing !== undefined) {
        leaf.grad = Tensor.from(engine, new Float64Array(leaf.size).fill(options.existing), spec.shape);
      }
      leaves[name] = leaf;
    }
    using tape = new Tape(engine);
    const inputs = { ...leaves };
    if (options.intermediates) {
      for (const [name, leaf] of Object.entries(leaves)) inputs[name] = add(leaf, Tensor.zeros(engine, leaf.shape));
    }
    let output = test.apply(inputs, engine);
    if (options.twice) output = add(output, test.apply(inputs, engine));
    const values = output.toArray(); // before backward: an operator may reuse this memory
    const weights = Tensor.from(engine, numbers({ shape: output.shape, key: test.upstreamKey ?? 999 }), output.shape);
    tape.backward(weightedSum(output, weights));
    const gradients: Record<string, number[]> = {};
    for (const [name, leaf] of Object.entries(leaves)) {
      gradients[name] = leaf.grad?.toArray() ?? new Array<number>(leaf.size).fill(0);
      expectSame(leaf.data, valuesOf(test.inputs[name] as InputSpec), `${name} after backward`);
    }
    return { output: values, gradients };
  });
  expect(engine.memory.count().current, 'bytes still in use').toBe(before);
  return outcome;
}

/** The scalar alone. */
function lossOf(engine: Engine, test: OperatorCase, inputs: Record<string, readonly number[]>): number {
  return engine.scope(() => {
    const tensors: Record<string, Tensor> = {};
    for (const [name, spec] of Object.entries(test.inputs)) {
      tensors[name] = Tensor.from(engine, inputs[name] ?? [], spec.shape);
    }
    const output = test.apply(tensors, engine);
    const weights = numbers({ shape: output.shape, key: test.upstreamKey ?? 999 });
    return output.toArray().reduce((sum, value, i) => sum + value * (weights[i] as number), 0);
  });
}

/**
 * Holds every gradient to central differences in float64, step 1e-5: the truncation error is about 1e-10 times the third
 * derivative and the rounding error about 1e-11, hence the tolerance of 1e-8 of the largest gradient.
 */
export function expectFiniteDifferences(test: OperatorCase, tolerance = 1e-8): void {
  using engine = exactEngine();
  const { gradients } = evaluate(engine, test);
  const step = 1e-5;
  const inputs: Record<string, number[]> = {};
  for (const [name, spec] of Object.entries(test.inputs)) inputs[name] = [...valuesOf(spec)];
  for (const [name, values] of Object.entries(inputs)) {
    const differences = values.map((value, i) => {
      values[i] = value + step;
      const above = lossOf(engine, test, inputs);
      values[i] = value - step;
      const below = lossOf(engine, test, inputs);
      values[i] = value;
      return (above - below) / (2 * step);
    });
    expectClose(gradients[name] ?? [], differences, tolerance, `gradient of ${name}`);
  }
}

export interface Tolerances {
  readonly output: number;
  readonly gradient: number;
  /** What gradients are measured against at least; see `differenceOf`. */
  readonly gradientFloor?: number;
}

/** Holds an engine to the reference engine in double precision, on the same float32 inputs. */
export function expectAgreesWithExact(engine: Engine, test: OperatorCase, tolerances: Tolerances): void {
  using exact = exactEngine();
  expectOutcome(evaluate(engine, test), evaluate(exact, test), tolerances);
}

export function expectOutcome(actual: Outcome, expected: Outcome, tolerances: Tolerances): void {
  expectClose(actual.output, expected.output, tolerances.output, 'output');
  expect(Object.keys(actual.gradients)).toEqual(Object.keys(expected.gradients));
  for (const [name, gradient] of Object.entries(expected.gradients)) {
    const found = actual.gradients[name] ?? [];
    expectClose(found, gradient, tolerances.gradient, `gradient of ${name}`, tolerances.gradientFloor);
  }
}

/**
 * Gradients must be added to what a leaf already holds, and to each other where a tensor has two uses. Both engines round
 * each of the few additions to float32, hence 1e-6.
 */
export function expectAccumulates(engine: Engine, test: OperatorCase, tolerance = 1e-6): void {
  const once = evaluate(engine, test).gradients;
  const variants: [RunOptions, (gradient: number) => number][] = [
    [{ existing: 0.5 }, (gradient) => gradient + 0.5],
    [{ twice: true }, (gradient) => 2 * gradient],
    [{ intermediates: true }, (gradient) => gradient],
    [{ intermediates: true, twice: true }, (gradient) => 2 * gradient],
    [{ intermediates: true, twice: true, existing: 0.5 }, (gradient) => 2 * gradient + 0.5],
  ];
  for (const [options, expected] of variants) {
    const { gradients } = evaluate(engine, test, options);
    for (const [name, gradient] of Object.entries(once)) {
      const what = `gradient of ${name} with ${JSON.stringify(options)}`;
      expectClose(gradients[name] ?? [], gradient.map(expected), tolerance, what);
    }
  }
}
