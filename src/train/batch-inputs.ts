/** Tensors that hold what a forward step reads of a batch: the same ones for every batch of the same shape. */

import type { DType } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Numbers of a batch, on their way to a tensor. */
export interface HostNumbers {
  readonly values: ArrayLike<number>;
  readonly shape: Shape;
  /** The engine's float type where not given. */
  readonly dtype?: DType;
}

export type Numbers = Readonly<Partial<Record<string, HostNumbers>>>;

export class BatchInputs implements Disposable {
  readonly #engine: Engine;
  #tensors: Record<string, Tensor> = {};
  #layout = '';

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get tensors(): Readonly<Record<string, Tensor>> {
    return this.#tensors;
  }

  /** Whether the tensors are of the names, types and shapes of these numbers, or there are none yet. */
  fits(numbers: Numbers): boolean {
    return this.#layout === '' || layoutOf(numbers) === this.#layout;
  }

  /** Tensors are made anew where names, types or shapes are others than before. */
  write(numbers: Numbers): void {
    if (layoutOf(numbers) !== this.#layout) {
      this[Symbol.dispose]();
      for (const [name, given] of Object.entries(numbers)) if (given) this.#tensors[name] = this.#newTensor(given);
      this.#layout = layoutOf(numbers);
    }
    for (const [name, given] of Object.entries(numbers)) if (given) this.#tensors[name]?.write(given.values);
  }

  #newTensor({ shape, dtype = this.#engine.floatType }: HostNumbers): Tensor {
    const tensor = Tensor.empty(this.#engine, shape, { dtype });
    this.#engine.forget(tensor); // outlives any scope
    return tensor;
  }

  [Symbol.dispose](): void {
    for (const tensor of Object.values(this.#tensors)) tensor[Symbol.dispose]();
    this.#tensors = {};
    this.#layout = '';
  }
}

/** Names, types and shapes. */
export const layoutOf = (numbers: Numbers): string =>
  Object.entries(numbers)
    .map(([name, given]) => given && `${name} ${given.dtype ?? ''} ${given.shape.join('×')}`)
    .join('; ');
