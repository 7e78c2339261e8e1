/** The norm of the whole gradient, and the factor that clips it. */

import { EngineError } from '../base/errors.ts';
import { allReduce, type Communicator } from '../comm/communicator.ts';
import { sumSquares } from '../ops/sum-squares/kernels.ts';
import type { ParameterGroup, Parameters } from '../parallel/parameters.ts';
import { Tensor } from '../tensor/tensor.ts';

/** The parts of ‖g‖², one for each flat buffer; on every rank of a tensor group the same. */
export interface GradientSquares extends Disposable {
  /** [parts] */
  readonly squares: Tensor;
  /** Computes them anew; collective. */
  measure(): void;
}

/**
 * The parts that ranks split are summed over the tensor group, what every rank holds is counted once.
 *
 * @throws EngineError where the parameters have no gradients.
 */
export function gradientSquares(parameters: Parameters, group?: Communicator): GradientSquares {
  const groups = parameters.groups.filter(hasGradients).toSorted((a, b) => Number(b.split) - Number(a.split));
  const [first] = groups;
  if (!first) throw new EngineError('there are no gradients to measure');
  const { engine } = first.gradients;
  const squares = Tensor.zeros(engine, [groups.length], { kind: 'workspace' });
  const places = groups.map((_, index) => squares.view([1], index));
  const split = groups.filter((one) => one.split).length;
  const ours = squares.view([split]);
  for (const tensor of [squares, ours, ...places]) tensor.outliveScope();
  return {
    squares,
    measure() {
      for (const [index, { gradients }] of groups.entries()) {
        sumSquares(engine, gradients, places[index] as Tensor, gradients.size);
      }
      if (group && group.size > 1 && split > 0) allReduce(group, ours);
    },
    [Symbol.dispose]() {
      for (const tensor of [ours, ...places, squares]) tensor[Symbol.dispose]();
    },
  };
}

const hasGradients = (group: ParameterGroup): group is ParameterGroup & { readonly gradients: Tensor } =>
  group.gradients !== undefined;

/** ‖g‖₂ over all parameters of the model, infinite or NaN where a gradient is. Collective over the tensor group. */
export function gradientNorm(parameters: Parameters, group?: Communicator): number {
  using parts = gradientSquares(parameters, group);
  parts.measure();
  return Math.sqrt(parts.squares.toArray().reduce((sum, part) => sum + part, 0));
}

/** Megatron's factor: max/(norm + 1e-6) where that is below 1. `clipGrad` 0 turns clipping off. */
export function clipFactor(norm: number, clipGrad: number): number {
  return clipGrad > 0 ? Math.min(1, clipGrad / (norm + 1e-6)) : 1;
}
