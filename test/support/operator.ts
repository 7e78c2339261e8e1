/** What every operator's test does: run it, differentiate it, and hold each engine to the same numbers. */

import { expect } from 'vitest';
import { Tape } from '../../src/autograd/tape.ts';
import { add } from '../../src/ops/add/op.ts';
import { weightedSum } from '../../src/ops/weighted-sum/op.ts';
import { type HalfType, halfTypes } from '../../src/tensor/dtype.ts';
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

/** How the inputs of a case are given when its activations have 16 bits. */
export interface HalfInputs<Name extends string = string> {
  readonly dtype: HalfType;
  /** Inputs that stay in the float type: biases, layer norms. */
  readonly floats?: readonly Name[];
  /** Inputs of 16 bits whose gradients are collected in the float type: matrices. */
  readonly weights?: readonly Name[];
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
  readonly halves?: HalfInputs;
}

const valuesOf = (spec: InputSpec): readonly number[] => ('values' in spec ? spec.values : numbers(spec));

/** Σ output·weights with its gradients. Fails when any tensor is still alive afterwards. */
export function evaluate(engine: Engine, test: OperatorCase, options: RunOptions = {}): Outcome {
  const before = engine.memory.count().current;
  const outcome = engine.scope(() => {
    const leaves: Record<string, Tensor> = {};
    for (const [name, spec] of Object.entries(test.inputs)) {
      const { halves } = options;
      const dtype = halves && !halves.floats?.includes(name) ? halves.dtype : engine.floatType;
      const leaf = Tensor.from(engine, valuesOf(spec), spec.shape, { requiresGrad: true, dtype });
      const isWeight = halves?.weights?.includes(name) === true;
      if (options.existing !== undefined || isWeight) {
        const existing = new Float64Array(leaf.size).fill(options.existing ?? 0);
        leaf.grad = Tensor.from(engine, existing, spec.shape, isWeight ? {} : { dtype });
      }
      leaves[name] = leaf;
    }
    using tape = new Tape(engine);
    const inputs = { ...leaves };
    if (options.intermediates) {
      for (const [name, leaf] of Object.entries(leaves)) {
        inputs[name] = add(leaf, Tensor.zeros(engine, leaf.shape, { dtype: leaf.dtype }));
      }
    }
    let output = test.apply(inputs, engine);
    if (options.twice) output = add(output, test.apply(inputs, engine));
    const values = output.toArray(); // before backward: an operator may reuse this memory
    const weights = Tensor.from(engine, numbers({ shape: output.shape, key: test.upstreamKey ?? 999 }), output.shape);
    tape.backward(weightedSum(output, weights));
    const gradients: Record<string, number[]> = {};
    for (const [name, leaf] of Object.entries(leaves)) {
      gradients[name] = leaf.grad?.toArray() ?? new Array<number>(leaf.size).fill(0);
      if (!options.halves) expectSame(leaf.read(), valuesOf(test.inputs[name] as InputSpec), `${name} after backward`);
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

/**
 * Holds an engine's 16-bit activations to double precision, for bf16 and f16, on inputs that the type has exactly. The
 * tolerances are for bf16, half a unit in whose last place is 2⁻⁹; those of f16 are an eighth.
 */
export function expectHalvesAgree<Name extends string>(
  engine: Engine,
  test: OperatorCase<Name>,
  inputs: Omit<HalfInputs<Name>, 'dtype'> = {},
  tolerances: Tolerances = { output: 2 ** -8, gradient: 2 ** -7 },
): void {
  using exact = exactEngine();
  for (const dtype of halfTypes) {
    const rounded: Record<string, InputSpec> = {};
    for (const [name, spec] of Object.entries<InputSpec>(test.inputs)) {
      const values = engine.scope(() => Tensor.from(engine, valuesOf(spec), spec.shape, { dtype }).toArray());
      rounded[name] = { shape: spec.shape, values };
    }
    const on = { ...test, inputs: rounded } as OperatorCase;
    const factor = dtype === 'bf16' ? 1 : 1 / 8;
    const { output, gradient, gradientFloor } = tolerances;
    expectOutcome(evaluate(engine, on, { halves: { ...inputs, dtype } }), evaluate(exact, on), {
      ...{ output: output * factor, gradient: gradient * factor },
      ...(gradientFloor === undefined ? {} : { gradientFloor }),
    });
  }
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
