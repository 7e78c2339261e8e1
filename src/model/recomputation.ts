/** Which activations of a model's layers are not kept for the backward pass but computed again in it; see docs/memory.md. */

import { UsageError } from '../base/errors.ts';

/** Megatron's names: `--recompute-granularity`, `--recompute-method`, `--recompute-num-layers`. */
export type Recomputation =
  | { readonly granularity: 'none' }
  /** In every layer, what costs no matrix product: the layer norms and the GELU. */
  | { readonly granularity: 'selective' }
  | {
      /** Whole layers. */
      readonly granularity: 'full';
      /** `uniform`: all layers, in groups of `numLayers` that keep their input alone; `block`: each of the first `numLayers`. */
      readonly method: 'uniform' | 'block';
      readonly numLayers: number;
    };

/** Neighbouring layers, and whether they keep only the input of the first. */
export interface LayerGroup {
  /** Numbers of the first layer and of the one after the last. */
  readonly first: number;
  readonly end: number;
  readonly recomputed: boolean;
}

/**
 * @param layers how many there are
 * @returns all layers in order, in groups that are recomputed together; a layer that is not is a group of its own
 * @throws UsageError when `numLayers` is not a whole number from 1 to `layers`.
 */
export function layerGroups(layers: number, recomputation: Recomputation): LayerGroup[] {
  const [size, recomputed] = sizeAndCount(layers, recomputation);
  return Array.from({ length: Math.ceil(layers / size) }, (_, group) => ({
    first: group * size,
    end: Math.min(layers, (group + 1) * size),
    recomputed: group * size < recomputed,
  }));
}

/** Layers of a group, and how many layers are recomputed whole. */
function sizeAndCount(layers: number, recomputation: Recomputation): readonly [number, number] {
  if (recomputation.granularity !== 'full') return [1, 0];
  const { method, numLayers } = recomputation;
  if (!Number.isInteger(numLayers) || numLayers < 1 || numLayers > layers) {
    throw new UsageError(`cannot recompute ${numLayers} of ${layers} layers`, {
      remedy: `Choose --recompute-num-layers from 1 to ${layers}.`,
    });
  }
  return method === 'uniform' ? [numLayers, layers] : [1, numLayers];
}
