/** Keys and values of the positions a model has seen, so that generation computes each position once. */

import { ShapeError } from '../base/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Both [b, S, n, d]; the first `length` positions of S are filled. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface CacheSize {
  readonly layers: number;
  /** n, this rank's heads. */
  readonly heads: number;
  /** d */
  readonly width: number;
  readonly batch: number;
  /** S, the most positions it can hold. */
  readonly capacity: number;
  /** Element type of the activations; the engine's float type where not given. */
  readonly dtype?: DType;
}

export class KeyValueCache implements Disposable {
  readonly #layers: readonly LayerCache[];
  readonly capacity: number;
  #length = 0;

  constructor(engine: Engine, { layers, heads, width, batch, capacity, dtype = engine.floatType }: CacheSize) {
    const shape = [batch, capacity, heads, width];
    this.capacity = capacity;
    this.#layers = Array.from({ length: layers }, () => ({
      keys: Tensor.empty(engine, shape, { kind: 'workspace', dtype }).outliveScope(),
      values: Tensor.empty(engine, shape, { kind: 'workspace', dtype }).outliveScope(),
    }));
  }

  /** Positions filled so far. */
  get length(): number {
    return this.#length;
  }

  layer(index: number): LayerCache {
    const layer = this.#layers[index];
    if (!layer) throw new ShapeError(`the key-value cache has no layer ${index}`);
    return layer;
  }

  /** Called once all layers have added `positions` more. */
  advance(positions: number): void {
    this.#length += positions;
  }

  [Symbol.dispose](): void {
    for (const { keys, values } of this.#layers) {
      keys[Symbol.dispose]();
      values[Symbol.dispose]();
    }
  }
}
