/** Tensors that hold what a forward step reads of a batch: the same ones for every batch of the same shape. */

import { ShapeError } from '../base/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Numbers of a batch, on their way to a tensor. */
export interface HostNumbers {
  readonly values: ArrayLike<number>;
  readonly shape: Shape;
  /** The engine's float type where not given. */
  readonly dtype?: DType;
}

export type Numbers = Readonly<Partial<Record<string, HostNumbers>>>;

/** The tensors of a batch, by name. */
export interface InputTensors<Name extends string = string> {
  /** @throws ShapeError where the batch has none of that name. */
  tensor(name: Name): Tensor;
  /** Undefined where the batch has none of that name. */
  optional(name: Name): Tensor | undefined;
}

export class BatchInputs implements InputTensors, Disposable {
  readonly #engine: Engine;
  #tensors: Record<string, Tensor> = {};
  #layout = '';

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  tensor(name: string): Tensor {
    const found = this.#tensors[name];
    if (found) return found;
    throw new ShapeError(`the forward step asks for an input ${name}, and the batch has ${namesOf(this.#tensors)}`, {
      remedy: 'What `forward` reads is what `inputs` gives, under the same name.',
    });
  }

  optional(name: string): Tensor | undefined {
    return this.#tensors[name];
  }

  /** Whether the tensors are of the names, types and shapes of these numbers, or there are none yet. */
  fits(numbers: Numbers): boolean {
    return this.#layout === '' || layoutOf(numbers) === this.#layout;
  }

  /**
   * Tensors are made anew where names, types or shapes are others than before.
   *
   * @throws ShapeError where the values of an input do not fill its shape.
   */
  write(numbers: Numbers): void {
    for (const [name, given] of Object.entries(numbers)) {
      if (!given || given.values.length === sizeOf(given.shape)) continue;
      throw new ShapeError(`input ${name}: ${given.values.length} values do not fill ${formatShape(given.shape)}`);
    }
    if (layoutOf(numbers) !== this.#layout) {
      this[Symbol.dispose]();
      for (const [name, given] of Object.entries(numbers)) if (given) this.#tensors[name] = this.#newTensor(given);
      this.#layout = layoutOf(numbers);
    }
    for (const [name, given] of Object.entries(numbers)) if (given) this.#tensors[name]?.write(given.values);
  }

  #newTensor({ shape, dtype = this.#engine.floatType }: HostNumbers): Tensor {
    return Tensor.empty(this.#engine, shape, { dtype }).outliveScope();
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#tensors)) tensor[Symbol.dispose]();
    this.#tensors = {};
    this.#layout = '';
  }
}

const namesOf = (tensors: object): string => Object.keys(tensors).join(', ') || 'none';

/** Names, types and shapes. */
export const layoutOf = (numbers: Numbers): string =>
  Object.entries(numbers)
    .map(([name, given]) => given && `${name} ${given.dtype ?? ''} ${given.shape.join('×')}`)
    .join('; ');
