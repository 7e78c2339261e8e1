/** Parameters: declared by the model with their global names and shapes, then allocated in flat buffers. */

import { EngineError, ShapeError } from '../base/errors.ts';
import { castTo } from '../ops/cast/kernels.ts';
import { randomNormal } from '../ops/random-normal/kernels.ts';
import type { DType } from '../tensor/dtype.ts';
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

  /** The leaf that the model computes with, the 16-bit copy where there is one; its `grad` collects the gradient. */
  get value(): Tensor {
    if (!this.#value) throw new EngineError(`parameter ${this.name} is not allocated yet`);
    return this.#value;
  }

  /** The numbers that belong to the model, in the float type, padding left out. After a change: `refreshCopies`. */
  get stored(): Tensor {
    if (!this.#stored) throw new EngineError(`parameter ${this.name} is not allocated yet`);
    return this.#stored;
  }

  /** Called by `Parameters.allocate`. */
  place(value: Tensor, stored: Tensor): void {
    this.#value = value;
    this.#stored = stored;
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
  /** [size], in the engine's float type: what the optimizer updates. */
  readonly values: Tensor;
  /** [size], the same rounded to 16 bits: what products read. */
  readonly copies: Tensor | undefined;
  /** [size]; undefined for a model that is only to be evaluated. */
  readonly gradients: Tensor | undefined;
}

export interface AllocateOptions {
  /** Whether there is memory for gradients; default true. */
  readonly gradients?: boolean;
  /**
   * Element type of activations, and of the copies of matrices that products read. Vectors (biases, layer norms) are few and
   * stay in the float type. Default: the engine's float type, without copies.
   */
  readonly computeType?: DType;
}

/** Parameters begin at whole cache lines, also those of 16-bit copies. */
const alignment = 32;

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
  allocate(engine: Engine, options: AllocateOptions = {}): void {
    if (this.#groups) throw new EngineError('the parameters are allocated already');
    const members = new Map<string, Parameter[]>();
    for (const parameter of this.#parameters) {
      const { spec } = parameter;
      const kind = `${spec.decay} ${isSplit(spec)} ${isMatrix(spec)}`;
      members.set(kind, [...(members.get(kind) ?? []), parameter]);
    }
    this.#groups = [...members.values()].map((parameters) => allocateGroup(engine, parameters, options));
  }

  /** Draws the initial values. They depend on the seed, the name and the global element alone. */
  initialize(seed: number): void {
    const key = streamSeed(seed, 'initial values');
    for (const { spec, stored, name } of this.#parameters) {
      if (spec.initial.kind === 'constant') stored.fill(spec.initial.value);
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
    this.refreshCopies();
  }

  /** Makes the 16-bit copies again after something else than the optimizer changed the numbers. */
  refreshCopies(): void {
    for (const { values, copies } of this.groups) if (copies) castTo(values.engine, values, copies, values.size);
  }

  /** Sets all gradients to zero, before the first micro-batch of a step. */
  clearGradients(): void {
    for (const { gradients } of this.groups) gradients?.fill(0);
  }

  [Symbol.dispose](): void {
    for (const parameter of this.#parameters) parameter.release();
    for (const { values, copies, gradients } of this.#groups ?? []) {
      values[Symbol.dispose]();
      copies?.[Symbol.dispose]();
      gradients?.[Symbol.dispose]();
    }
    this.#groups = undefined;
  }
}

const isSplit = (spec: ParameterSpec): boolean => spec.slice !== undefined;
const isMatrix = (spec: ParameterSpec): boolean => spec.globalShape.length > 1;

/** @param parameters alike in decay, in being split and in being matrices */
function allocateGroup(
  engine: Engine,
  parameters: readonly Parameter[],
  { gradients: wanted = true, computeType = engine.floatType }: AllocateOptions,
): ParameterGroup {
  const starts: number[] = [];
  let size = 0;
  for (const parameter of parameters) {
    starts.push(size);
    size += Math.ceil(sizeOf(parameter.paddedShape) / alignment) * alignment;
  }
  const [first] = parameters;
  const [decay, split] = [first?.spec.decay === true, first !== undefined && isSplit(first.spec)];
  const hasCopies = computeType !== engine.floatType && first !== undefined && isMatrix(first.spec);
  const values = Tensor.zeros(engine, [size], { kind: 'parameters' });
  const copies = hasCopies ? Tensor.zeros(engine, [size], { kind: 'parameters', dtype: computeType }) : undefined;
  const gradients = wanted ? Tensor.zeros(engine, [size], { kind: 'gradients' }) : undefined;
  parameters.forEach((parameter, i) => {
    const start = starts[i] ?? 0;
    const value = (copies ?? values).view(parameter.paddedShape, start, wanted);
    value.grad = gradients?.view(parameter.paddedShape, start);
    parameter.place(value, values.view(parameter.shape, start));
  });
  return { decay, split, parameters, starts, values, copies, gradients };
}
