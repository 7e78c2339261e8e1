/** PyTorch's figures for single operators, made by bench/peers/torch_ops_fixture.py. */

import { readFileSync } from 'node:fs';
import type { Engine } from '../../src/tensor/engine.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { decodeFloats, type NumberSpec } from './numbers.ts';
import { evaluate, expectOutcome, type OperatorCase, type Tolerances } from './operator.ts';

export interface GoldenCase {
  readonly inputs: Readonly<Record<string, NumberSpec>>;
  readonly attributes: {
    readonly labels?: readonly number[];
    readonly ids?: readonly number[];
    readonly idsShape?: readonly number[];
  };
  /** Base64 float32, rounded from float64. */
  readonly output: string;
  readonly gradients: Readonly<Record<string, string>>;
}

interface GoldenFile {
  readonly cases: Readonly<Record<string, GoldenCase>>;
  readonly adamw: {
    readonly size: number;
    readonly steps: number;
    readonly parameters: string;
    readonly firstMoments: string;
    readonly secondMoments: string;
  };
  /** Float32 numbers, and the raw bits that PyTorch rounds them to. */
  readonly cast: { readonly x: string; readonly bf16: readonly number[]; readonly f16: readonly number[] };
}

export const goldens = JSON.parse(
  readFileSync(new URL('../fixtures/torch/operators.json', import.meta.url), 'utf8'),
) as GoldenFile;

/** Runs the operator on the figures' own inputs and holds output and gradients to them. */
export function expectGolden<Name extends string>(
  engine: Engine,
  name: string,
  apply: (inputs: Record<Name, Tensor>, golden: GoldenCase, engine: Engine) => Tensor,
  tolerances: Tolerances,
): void {
  const golden = goldens.cases[name];
  if (!golden) throw new Error(`the fixture has no case named ${name}`);
  const gradients: Record<string, number[]> = {};
  for (const [input, figures] of Object.entries(golden.gradients)) gradients[input] = decodeFloats(figures);
  const test: OperatorCase<Name> = {
    inputs: golden.inputs as Record<Name, NumberSpec>,
    apply: (inputs) => apply(inputs, golden, engine),
  };
  expectOutcome(evaluate(engine, test), { output: decodeFloats(golden.output), gradients }, tolerances);
}
