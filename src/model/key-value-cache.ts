/** Keys and values of the positions a model has seen, so that generation computes each position once. */

import { ShapeError } from '../base/errors.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { GptConfig } from './config.ts';

/** Both [b, S, n, d]; the first `length` positions of S are filled. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export class KeyValueCache implements Disposable {
  readonly #layers: readonly LayerCache[];
  readonly capacity: number;
  #length = 0;

  /** @param capacity S, the most positions it can hold */
  constructor(engine: Engine, config: GptConfig, batch: number, capacity: number) {
    const { numLayers, numAttentionHeads: n, hiddenSize: h } = config;
    const shape = [batch, capacity, n, h / n];
    this.capacity = capacity;
    this.#layers = Array.from({ length: numLayers }, () => ({
      keys: Tensor.empty(engine, shape, { kind: 'workspace' }),
      values: Tensor.empty(engine, shape, { kind: 'workspace' }),
    }));
    for (const { keys, values } of this.#layers) {
      // a cache outlives the scopes of single steps
      engine.forget(keys);
      engine.forget(values);
    }
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
