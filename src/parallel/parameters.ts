/** Parameters: declared by the model with their global names and shapes, then allocated in flat buffers. */

import { EngineError, ShapeError } from '../base/errors.ts';
import { randomNormal } from '../ops/random-normal/kernels.ts';
import type { Engine } from '../tensor/engine.ts';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { hashText, streamSeed } from './random.ts';

export type InitialValue =
  | { readonly kind: 'normal'; readonly deviation: number }
  | { readonly kind: 'constant'; readonly value: number };

export const zeroValue: InitialValue = { kind: 'constant', value: 0 };

/** Everything that checkpoints, optimizers and converters need to know of a parameter. */
export interface ParameterSpec {
  /** The same in every layout. */
  readonly name: string;
  /** Shape of the whole parameter, over all ranks, without padding. */
  readonly globalShape: Shape;
  /** This rank's part of it; the whole where not given. */
  readonly slice?: { readonly offset: Shape; readonly shape: Shape };
  /** Rows in memory, more than the slice has where the first dimension is padded; the rest stays zero. */
  readonly paddedRows?: number;
  readonly initial: InitialValue;
  /** Whether weight decay applies; it does not to biases and layer norms. */
  readonly decay: boolean;
}

/** One parameter; its tensors exist once `Parameters.allocate` has run. */
export class Parameter {
  readonly spec: ParameterSpec;
  #value: Tensor | undefined;
  #stored: Tensor | undefined;

  constructor(spec: ParameterSpec) {
    this.spec = spec;
  }

  get name(): string {
    return this.spec.name;
  }

  /** Where this rank's part begins in the whole parameter. */
  get offset(): Shape {
    return this.spec.slice?.offset ?? this.spec.globalShape.map(() => 0);
  }

  /** Shape of this rank's part, without padding. */
  get shape(): Shape {
    return this.spec.slice?.shape ?? this.spec.globalShape;
  }

  /** Shape in memory, padding included. */
  get paddedShape(): Shape {
    const { paddedRows } = this.spec;
    return paddedRows === undefined ? this.shape : [paddedRows, ...this.shape.slice(1)];
  }

  /** The leaf that the model computes with; its `grad` collects the gradient. */
  get value(): Tensor {
    if (!this.#value) throw new EngineError(`parameter ${this.name} is not allocated yet`);
    return this.#value;
  }

  /** The numbers that belong to the model, padding left out. */
  get stored(): Tensor {
    if (!this.#stored) throw new EngineError(`parameter ${this.name} is not allocated yet`);
    return this.#stored;
  }

  /** Called by `Parameters.allocate`. */
  place(value: Tensor): void {
    this.#value = value;
    this.#stored = value.view(this.shape);
  }

  /** Called when `Parameters` is disposed; `grad` goes with the value. */
  release(): void {
    this.#stored?.[Symbol.dispose]();
    this.#value?.[Symbol.dispose]();
    this.#stored = undefined;
    this.#value = undefined;
  }
}

/** Parameters that share one flat buffer, so that the optimizer passes over them in one call. */
export interface ParameterGroup {
  readonly decay: boolean;
  /** Whether each rank of the tensor group has a part of its own; otherwise all have the same numbers. */
  readonly split: boolean;
  readonly parameters: readonly Parameter[];
  /** Where each parameter begins in the flat buffers, in elements. */
  readonly starts: readonly number[];
  /** [size] */
  readonly values: Tensor;
  /** [size]; undefined for a model that is only to be evaluated. */
  readonly gradients: Tensor | undefined;
}

/** Parameters begin at whole cache lines. */
const alignment = 16;

/** Declares parameters for a model; allocates and initializes them for an engine. Disposing gives their memory back. */
export class Parameters implements Disposable {
  readonly #parameters: Parameter[] = [];
  readonly #streams = new Map<number, string>();
  #groups: readonly ParameterGroup[] | undefined;

  /** @throws ShapeError when the name is taken or the slice leaves the parameter. */
  declare(spec: ParameterSpec): Parameter {
    const stream = hashText(spec.name);
    const owner = this.#streams.get(stream);
    if (owner !== undefined) {
      throw new ShapeError(
        `parameter ${spec.name} ${owner === spec.name ? 'is declared twice' : `collides with ${owner}`}`,
      );
    }
    this.#streams.set(stream, spec.name);
    const fits = spec.slice?.shape.every(
      (size, i) => size + (spec.slice?.offset[i] ?? 0) <= (spec.globalShape[i] ?? 0),
    );
    if (fits === false) {
      throw new ShapeError(`the slice of ${spec.name} leaves its shape ${formatShape(spec.globalShape)}`);
    }
    const parameter = new Parameter(spec);
    this.#parameters.push(parameter);
    return parameter;
  }

  get all(): readonly Parameter[] {
    return this.#parameters;
  }

  /** Number of trained numbers of the whole model, padding left out. */
  get count(): number {
    return this.#parameters.reduce((sum, { spec }) => sum + sizeOf(spec.globalShape), 0);
  }

  /** The flat buffers. @throws EngineError before `allocate`. */
  get groups(): readonly ParameterGroup[] {
    if (!this.#groups) throw new EngineError('the parameters are not allocated yet');
    return this.#groups;
  }

  /** Gives every parameter its memory; contents are zero until `initialize` or a checkpoint fills them. */
  allocate(engine: Engine, options: { gradients: boolean } = { gradients: true }): void {
    if (this.#groups) throw new EngineError('the parameters are allocated already');
    this.#groups = [true, false].flatMap((decay) =>
      [true, false].flatMap((split) => {
        const parameters = this.#parameters.filter(({ spec }) => spec.decay === decay && isSplit(spec) === split);
        return parameters.length > 0 ? [{ decay, split, ...allocateGroup(engine, parameters, options.gradients) }] : [];
      }),
    );
  }

  /** Draws the initial values. They depend on the seed, the name and the global element alone. */
  initialize(seed: number): void {
    const key = streamSeed(seed, 'initial values');
    for (const { spec, stored, name } of this.#parameters) {
      if (spec.initial.kind === 'constant') stored.data.fill(spec.initial.value);
      else {
        const [globalWidth, width] = [spec.globalShape.at(-1) ?? 1, stored.shape.at(-1) ?? 1];
        const [firstRow, firstColumn] = [spec.slice?.offset[0] ?? 0, spec.slice?.offset[1] ?? 0];
        const rows = stored.size / width;
        const { deviation } = spec.initial;
        randomNormal(
          ...([stored.engine, stored, rows, width, globalWidth, firstRow, firstColumn, deviation, key] as const),
          hashText(name),
        );
      }
    }
  }

  /** Sets all gradients to zero, before the first micro-batch of a step. */
  clearGradients(): void {
    for (const { gradients } of this.groups) gradients?.data.fill(0);
  }

  [Symbol.dispose](): void {
    for (const parameter of this.#parameters) parameter.release();
    for (const { values, gradients } of this.#groups ?? []) {
      values[Symbol.dispose]();
      gradients?.[Symbol.dispose]();
    }
    this.#groups = undefined;
  }
}

const isSplit = (spec: ParameterSpec): boolean => spec.slice !== undefined;

function allocateGroup(
  engine: Engine,
  parameters: readonly Parameter[],
  gradients: boolean,
): Omit<ParameterGroup, 'decay' | 'split'> {
  const starts: number[] = [];
  let size = 0;
  for (const parameter of parameters) {
    starts.push(size);
    size += Math.ceil(sizeOf(parameter.paddedShape) / alignment) * alignment;
  }
  const values = Tensor.zeros(engine, [size], { kind: 'parameters' });
  const flatGradients = gradients ? Tensor.zeros(engine, [size], { kind: 'gradients' }) : undefined;
  parameters.forEach((parameter, i) => {
    const start = starts[i] ?? 0;
    const value = values.view(parameter.paddedShape, start, gradients);
    value.grad = flatGradients?.view(parameter.paddedShape, start);
    parameter.place(value);
  });
  return { parameters, starts, values, gradients: flatGradients };
}
