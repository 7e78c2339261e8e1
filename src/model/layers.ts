/** The layers that own parameters: linear, layer norm, embedding. */

import { embedding } from '../ops/embedding/op.ts';
import type { GeluForm } from '../ops/gelu/kernels.ts';
import { layerNorm } from '../ops/layer-norm/op.ts';
import { linear, linearGelu } from '../ops/linear/op.ts';
import type { InitialValue, Parameter, Parameters } from '../parallel/parameters.ts';
import type { Tensor } from '../tensor/tensor.ts';

const zero: InitialValue = { kind: 'constant', value: 0 };
const one: InitialValue = { kind: 'constant', value: 1 };

/** y = x·Wᵀ + b with W [outputs, inputs]. */
export class Linear {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(parameters: Parameters, name: string, inputs: number, outputs: number, deviation: number) {
    this.weight = parameters.declare({
      name: `${name}.weight`,
      globalShape: [outputs, inputs],
      initial: { kind: 'normal', deviation },
      decay: true,
    });
    this.bias = parameters.declare({ name: `${name}.bias`, globalShape: [outputs], initial: zero, decay: false });
  }

  /** [..., inputs] → [..., outputs] */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight.value, this.bias.value);
  }

  /** The product alone, for a bias that is fused with what follows. */
  forwardWithoutBias(x: Tensor): Tensor {
    return linear(x, this.weight.value);
  }

  /** gelu(x·Wᵀ + b), fused. */
  forwardGelu(x: Tensor, form: GeluForm): Tensor {
    return linearGelu(x, this.weight.value, this.bias.value, form);
  }
}

/** Layer normalization over the last dimension, with scale and shift. */
export class LayerNorm {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly #epsilon: number;

  constructor(parameters: Parameters, name: string, width: number, epsilon: number) {
    this.weight = parameters.declare({ name: `${name}.weight`, globalShape: [width], initial: one, decay: false });
    this.bias = parameters.declare({ name: `${name}.bias`, globalShape: [width], initial: zero, decay: false });
    this.#epsilon = epsilon;
  }

  /** [..., h] → [..., h] */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight.value, this.bias.value, this.#epsilon);
  }
}

export interface EmbeddingSize {
  readonly entries: number;
  readonly width: number;
}

/** A table of rows by id. */
export class Embedding {
  readonly weight: Parameter;

  constructor(parameters: Parameters, name: string, size: EmbeddingSize, deviation: number) {
    this.weight = parameters.declare({
      name: `${name}.weight`,
      globalShape: [size.entries, size.width],
      initial: { kind: 'normal', deviation },
      decay: true,
    });
  }

  /** int32 [...] → [..., width] */
  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight.value);
  }
}
