/** What ranks share that hold parallel layers to their serial twins: engines, slices, and differences. */

import type { Communicator } from '../../../src/comm/communicator.ts';
import type { RankFunction } from '../../../src/comm/rank.ts';
import type { Parameter } from '../../../src/parallel/parameters.ts';
import type { Engine, EngineName } from '../../../src/tensor/engine.ts';
import { createCudaEngine } from '../../../src/tensor/engines/cuda.ts';
import { createReferenceEngine } from '../../../src/tensor/engines/reference.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { Tensor } from '../../../src/tensor/tensor.ts';
import { differenceOf } from '../closeness.ts';
import { cpuEngine, noCpuEngine, poisoned } from '../engines.ts';
import { type NumberSpec, numbers } from '../numbers.ts';

/** By what was compared: the largest difference relative to the largest expected number, or a count of what is wrong. */
export type Differences = Record<string, number>;
export type EngineDifferences = Partial<Record<EngineName, Differences>>;

/** What a rank is told: engines, where not those of every machine. */
export interface ComparingData {
  readonly engines?: readonly EngineName[];
}

/** A rank that runs `compare` on every engine that it is told of; tensors that it forgets to free are a difference, too. */
export function comparingRank(
  compare: (world: Communicator, engine: Engine) => Differences,
): RankFunction<ComparingData | undefined, EngineDifferences> {
  return async (world, data) => {
    const results: EngineDifferences = {};
    const makers = {
      reference: () => poisoned(createReferenceEngine()),
      cpu: () => cpuEngine({ threads: 1 }),
      cuda: () => poisoned(createCudaEngine()),
    };
    for (const name of data?.engines ?? (['reference', 'cpu'] as const)) {
      if (name === 'cpu' && noCpuEngine) continue;
      using engine = await makers[name]();
      const differences = engine.scope(() => compare(world, engine));
      results[name] = { ...differences, 'bytes never freed': engine.memory.count().current };
    }
    return results;
  };
}

/** The box at `offset` of a row-major array, row by row. */
export function boxOf(values: ArrayLike<number>, whole: Shape, offset: Shape, shape: Shape): number[] {
  return Array.from({ length: sizeOf(shape) }, (_, index) => {
    let [rest, place, stride] = [index, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = shape[axis] as number;
      place += ((rest % size) + (offset[axis] as number)) * stride;
      rest = Math.floor(rest / size);
      stride *= whole[axis] as number;
    }
    return values[place] as number;
  });
}

/** This rank's part of numbers that are split evenly along their last dimension. */
export function lastPart(values: ArrayLike<number>, whole: Shape, { rank, size }: Communicator): number[] {
  const width = (whole.at(-1) ?? 1) / size;
  const start = whole.map(() => 0).with(-1, rank * width);
  return boxOf(values, whole, start, whole.with(-1, width));
}

/** A parameter's own part of numbers for the whole of it. */
export const partOf = (parameter: Parameter, whole: ArrayLike<number>): number[] =>
  boxOf(whole, parameter.spec.globalShape, parameter.offset, parameter.shape);

/** Gives a parameter its part of these numbers. */
export function fill(parameter: Parameter, whole: ArrayLike<number>): void {
  parameter.stored.write(partOf(parameter, whole));
}

/** A parameter's gradient without its padding. */
export function gradientOf(parameter: Parameter): number[] {
  const { grad } = parameter.value;
  if (!grad) throw new Error(`${parameter.name} has no gradient`);
  return grad.toArray().slice(0, sizeOf(parameter.shape));
}

export const leaf = (engine: Engine, values: ArrayLike<number>, shape: Shape): Tensor =>
  Tensor.from(engine, values, shape, { requiresGrad: true });

export const drawn = (engine: Engine, spec: NumberSpec): Tensor => Tensor.from(engine, numbers(spec), spec.shape);

/** Relative to the largest expected number, or to `floor` where that is larger. */
export const difference = (actual: ArrayLike<number>, expected: ArrayLike<number>, floor?: number): number =>
  actual.length === expected.length ? differenceOf(actual, expected, floor).relative : Number.POSITIVE_INFINITY;

/** How many numbers are not the same to the last bit (0 and −0 are not). */
export function unequal(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let count = 0;
  for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i])) count++;
  return count;
}
