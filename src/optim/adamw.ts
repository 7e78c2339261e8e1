/** AdamW over the flat buffers of a model's parameters. */

import { EngineError } from '../base/errors.ts';
import { adamWStep } from '../ops/adamw/kernels.ts';
import { factorCount } from '../ops/update-factors/kernels.ts';
import type { Parameter, ParameterGroup, Parameters } from '../parallel/parameters.ts';
import { Tensor } from '../tensor/tensor.ts';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled; applied to the parameters that decay. */
  readonly weightDecay: number;
}

interface GroupState {
  readonly group: ParameterGroup;
  readonly gradients: Tensor;
  /** Running mean of the gradient, [size]. */
  readonly mean: Tensor;
  /** Running mean of its square, [size]. */
  readonly variance: Tensor;
}

/** The optimizer's numbers that belong to one parameter, under the names that checkpoints use. */
export interface ParameterState {
  readonly parameter: Parameter;
  readonly name: 'exp_avg' | 'exp_avg_sq';
  readonly tensor: Tensor;
}

export class AdamW implements Disposable {
  readonly #options: AdamWOptions;
  readonly #groups: readonly GroupState[];
  /** Updates done so far. */
  steps = 0;

  /** @throws EngineError when the parameters were allocated without gradients. */
  constructor(parameters: Parameters, options: AdamWOptions) {
    this.#options = options;
    this.#groups = parameters.groups.map((group) => {
      const { values, gradients } = group;
      if (!gradients) throw new EngineError('an optimizer needs parameters that were allocated with gradients');
      const zeros = (): Tensor => Tensor.zeros(values.engine, values.shape, { kind: 'optimizer' });
      return { group, gradients, mean: zeros(), variance: zeros() };
    });
  }

  /**
   * One update of every parameter.
   *
   * @param gradientScale multiplies the gradients on the way: clipping, and the mean over micro-batches
   */
  step(learningRate: number, gradientScale: number): void {
    const [group] = this.#groups;
    if (!group) return;
    using factors = Tensor.from(group.mean.engine, [gradientScale, ...this.nextRates(learningRate)], [factorCount]);
    this.apply(factors);
  }

  /** Counts the next update, and tells its step size, inverse root and decay; see `adamWStep`. */
  nextRates(learningRate: number): readonly [stepSize: number, inverseRoot: number, decay: number] {
    const { beta1, beta2, weightDecay } = this.#options;
    this.steps++;
    const stepSize = learningRate / (1 - beta1 ** this.steps);
    return [stepSize, 1 / Math.sqrt(1 - beta2 ** this.steps), learningRate * weightDecay];
  }

  /** Updates every parameter by factors [4] in memory; none where the first is NaN. */
  apply(factors: Tensor): void {
    const { beta1, beta2, epsilon } = this.#options;
    for (const { group, gradients, mean, variance } of this.#groups) {
      const { values, copies, decay } = group;
      adamWStep(
        ...([values.engine, values, gradients, mean, variance, copies, factors, values.size] as const),
        ...([beta1, 1 - beta1, beta2, 1 - beta2, epsilon, decay ? 1 : 0] as const),
      );
    }
  }

  /** Views of the running means, parameter by parameter; `using` gives them up. */
  states(): Disposable & { readonly list: readonly ParameterState[] } {
    const list = this.#groups.flatMap(({ group, mean, variance }) =>
      group.parameters.flatMap((parameter, i): ParameterState[] => {
        const start = group.starts[i] ?? 0;
        return [
          { parameter, name: 'exp_avg', tensor: mean.view(parameter.shape, start) },
          { parameter, name: 'exp_avg_sq', tensor: variance.view(parameter.shape, start) },
        ];
      }),
    );
    return {
      list,
      [Symbol.dispose]: () => {
        for (const { tensor } of list) tensor[Symbol.dispose]();
      },
    };
  }

  [Symbol.dispose](): void {
    for (const { mean, variance } of this.#groups) {
      mean[Symbol.dispose]();
      variance[Symbol.dispose]();
    }
  }
}
