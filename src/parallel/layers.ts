/** Linear layers split over the ranks of a tensor group by columns or by rows (paper §3, Figure 3). */

import { UsageError } from '../base/errors.ts';
import type { Communicator } from '../comm/communicator.ts';
import type { GeluForm } from '../ops/gelu/kernels.ts';
import { biasAdd, geluLinear, linear, linearGelu } from '../ops/linear/op.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { copyToGroup, reduceFromGroup } from './mappings.ts';
import { type InitialValue, type Parameter, type Parameters, zeroValue } from './parameters.ts';

export interface LinearSize {
  readonly inputs: number;
  readonly outputs: number;
  /** Standard deviation of the initial weights. */
  readonly deviation: number;
}

/** @throws UsageError naming the nearest size that works. */
export function shareOf(size: number, group: Communicator, what: string): number {
  if (size % group.size === 0) return size / group.size;
  const below = Math.floor(size / group.size) * group.size;
  const nearest = below > 0 ? `${below} or ${below + group.size}` : `${group.size}`;
  throw new UsageError(`${what} ${size} cannot be split over ${group.size} tensor-parallel ranks`, {
    remedy: `The nearest sizes that can: ${nearest}. Or choose a --tensor-model-parallel-size that divides ${size}.`,
  });
}

/** Slice of a matrix or vector by its dimension `axis`, or nothing where the group has one rank. */
function sliceOf(shape: readonly number[], axis: number, group: Communicator) {
  if (group.size === 1) return {};
  const share = (shape[axis] ?? 0) / group.size;
  return {
    slice: {
      offset: shape.map((_, i) => (i === axis ? group.rank * share : 0)),
      shape: shape.map((size, i) => (i === axis ? share : size)),
    },
  };
}

const normal = (deviation: number): InitialValue => ({ kind: 'normal', deviation });

/**
 * Y = X·Aᵀ + b with the outputs split: A = [A₁, A₂, …] by columns of the paper, so that each rank computes Yᵢ = X·Aᵢ with no
 * communication; f at its entrance sums the gradients of X.
 */
export class ColumnParallelLinear {
  /** [outputs/t, inputs] */
  readonly weight: Parameter;
  /** [outputs/t] */
  readonly bias: Parameter;
  readonly #group: Communicator;

  /** @throws UsageError when the outputs cannot be split evenly. */
  constructor(parameters: Parameters, name: string, size: LinearSize, group: Communicator) {
    const { inputs, outputs, deviation } = size;
    shareOf(outputs, group, `the output size of ${name},`);
    this.weight = parameters.declare({
      name: `${name}.weight`,
      globalShape: [outputs, inputs],
      ...sliceOf([outputs, inputs], 0, group),
      initial: normal(deviation),
      decay: true,
    });
    this.bias = parameters.declare({
      name: `${name}.bias`,
      globalShape: [outputs],
      ...sliceOf([outputs], 0, group),
      initial: zeroValue,
      decay: false,
    });
    this.#group = group;
  }

  /** [..., inputs] on every rank → [..., outputs/t], this rank's part */
  forward(x: Tensor): Tensor {
    using copied = copyToGroup(x, this.#group);
    return linear(copied, this.weight.value, this.bias.value);
  }

  /** The product alone, for a bias that is fused with what follows. */
  forwardWithoutBias(x: Tensor): Tensor {
    using copied = copyToGroup(x, this.#group);
    return linear(copied, this.weight.value);
  }

  /** gelu(X·Aᵀ + b): GELU acts element by element, so each rank takes it of its part. */
  forwardGelu(x: Tensor, form: GeluForm): Tensor {
    using copied = copyToGroup(x, this.#group);
    return linearGelu(copied, this.weight.value, this.bias.value, form);
  }
}

/**
 * Y = X·Bᵀ + b with the inputs split: each rank multiplies its part of X by its rows of the paper's B, and g sums the
 * products. The bias is the same on every rank and added once, after the sum.
 */
export class RowParallelLinear {
  /** [outputs, inputs/t] */
  readonly weight: Parameter;
  /** [outputs], whole on every rank */
  readonly bias: Parameter;
  readonly #group: Communicator;

  /** @throws UsageError when the inputs cannot be split evenly. */
  constructor(parameters: Parameters, name: string, size: LinearSize, group: Communicator) {
    const { inputs, outputs, deviation } = size;
    shareOf(inputs, group, `the input size of ${name},`);
    this.weight = parameters.declare({
      name: `${name}.weight`,
      globalShape: [outputs, inputs],
      ...sliceOf([outputs, inputs], 1, group),
      initial: normal(deviation),
      decay: true,
    });
    this.bias = parameters.declare({ name: `${name}.bias`, globalShape: [outputs], initial: zeroValue, decay: false });
    this.#group = group;
  }

  /** [..., inputs/t], this rank's part → [..., outputs] on every rank */
  forward(x: Tensor): Tensor {
    using sum = this.forwardWithoutBias(x);
    return biasAdd(sum, this.bias.value);
  }

  /** [..., inputs/t], this rank's part → [..., outputs] on every rank, without the bias: it is fused with what follows. */
  forwardWithoutBias(x: Tensor): Tensor {
    using partial = linear(x, this.weight.value);
    return reduceFromGroup(partial, this.#group);
  }
  /** gelu(u) of this rank's part [..., inputs/t] → [..., outputs] on every rank, without the bias. */
  forwardOfGelu(u: Tensor, form: GeluForm): Tensor {
    using partial = geluLinear(u, this.weight.value, form);
    return reduceFromGroup(partial, this.#group);
  }
}
