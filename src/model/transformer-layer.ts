/**
 * One pre-LN transformer layer, the paper's Figure 2 (right):
 * x → LN → self-attention → dropout → +x → LN → MLP (h → 4h, GELU, 4h → h) → dropout → + .
 */

import { recompute } from '../autograd/recompute.ts';
import type { Communicator } from '../comm/communicator.ts';
import { attention, attentionWithCache } from '../ops/attention/op.ts';
import { biasDropoutAdd, counterTensors, type DropoutAt } from '../ops/dropout/op.ts';
import { biasGelu, slopeRidesOnProduct } from '../ops/linear/op.ts';
import { ColumnParallelLinear, RowParallelLinear, shareOf } from '../parallel/layers.ts';
import type { Parameters } from '../parallel/parameters.ts';
import { type DropoutSite, siteOf, streamSeed } from '../parallel/random.ts';
import type { Counter } from '../tensor/counter.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { GptConfig } from './config.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import { LayerNorm } from './layers.ts';

/** What a forward pass knows besides its input. */
export interface ForwardState {
  /** Dropout is on. */
  readonly training: boolean;
  /** Global number, in the whole run, of the sample in row 0; decides the dropout masks. */
  readonly firstSample: Counter;
  /** int32 [b, s]: the first position that each position may attend to; all before it where not given. */
  readonly firstKey?: Tensor | undefined;
  /** Keys and values of the positions before, in generation. */
  readonly cache?: KeyValueCache | undefined;
}

/** The dropout of one site of one layer. */
export function dropoutAt(config: GptConfig, layer: number, site: DropoutSite, state: ForwardState): DropoutAt {
  const probability = site === 'attention' ? config.attentionDropout : config.hiddenDropout;
  return {
    probability: state.training ? probability : 0,
    seed: streamSeed(config.seed, 'dropout'),
    site: siteOf(layer, site),
    firstSample: state.firstSample,
  };
}

export class TransformerLayer {
  readonly #config: GptConfig;
  readonly #index: number;
  /** n/t: this rank's attention heads, and the number of the first of them. */
  readonly #heads: number;
  readonly #headOffset: number;
  readonly #recomputesCheapParts: boolean;
  readonly inputLayerNorm: LayerNorm;
  /** [3h, h]: for each head its query, key and value rows, [n, 3, d, h], split by heads. */
  readonly queryKeyValue: ColumnParallelLinear;
  readonly projection: RowParallelLinear;
  readonly preMlpLayerNorm: LayerNorm;
  readonly toFeedForward: ColumnParallelLinear;
  readonly fromFeedForward: RowParallelLinear;

  /**
   * @param index global number of the layer, from 0
   * @param group the ranks that split the layer
   * @param recomputesCheapParts whether the outputs of layer norms and GELU are computed again in backward instead of kept
   * @throws UsageError when the heads or the feed-forward width cannot be split evenly.
   */
  constructor(
    parameters: Parameters,
    config: GptConfig,
    index: number,
    group: Communicator,
    recomputesCheapParts = false,
  ) {
    const { hiddenSize: h, ffnHiddenSize: f, layernormEpsilon: epsilon, initMethodStd: deviation } = config;
    // weights just before a residual addition start smaller (paper §4.2)
    const residualDeviation = deviation / Math.sqrt(2 * config.numLayers);
    const name = `decoder.layers.${index}`;
    const sized = (inputs: number, outputs: number, spread: number) => ({ inputs, outputs, deviation: spread });
    this.#config = config;
    this.#index = index;
    this.#heads = shareOf(config.numAttentionHeads, group, '--num-attention-heads');
    this.#headOffset = group.rank * this.#heads;
    this.#recomputesCheapParts = recomputesCheapParts;
    this.inputLayerNorm = new LayerNorm(parameters, `${name}.input_layernorm`, h, epsilon);
    this.queryKeyValue = new ColumnParallelLinear(
      ...([parameters, `${name}.self_attention.linear_qkv`, sized(h, 3 * h, deviation), group] as const),
    );
    this.projection = new RowParallelLinear(
      ...([parameters, `${name}.self_attention.linear_proj`, sized(h, h, residualDeviation), group] as const),
    );
    this.preMlpLayerNorm = new LayerNorm(parameters, `${name}.pre_mlp_layernorm`, h, epsilon);
    this.toFeedForward = new ColumnParallelLinear(parameters, `${name}.mlp.linear_fc1`, sized(h, f, deviation), group);
    this.fromFeedForward = new RowParallelLinear(
      ...([parameters, `${name}.mlp.linear_fc2`, sized(f, h, residualDeviation), group] as const),
    );
  }

  /** [b, s, h] → [b, s, h] */
  forward(x: Tensor, state: ForwardState): Tensor {
    using afterAttention = this.#selfAttention(x, state);
    return this.#feedForward(afterAttention, state);
  }

  #selfAttention(x: Tensor, state: ForwardState): Tensor {
    const { cache, firstKey } = state;
    const [heads, headOffset] = [this.#heads, this.#headOffset];
    using mixed = this.#cheapPart([x], () => {
      using normed = this.inputLayerNorm.forward(x); // [b, s, h]
      return this.queryKeyValue.forward(normed); // [b, s, 3h/t] = [b, s, n/t, 3, d]
    });
    using context = cache
      ? attentionWithCache(mixed, cache.layer(this.#index), { heads, position: cache.length })
      : attention(mixed, { heads, headOffset, firstKey, dropout: this.#dropout('attention', state) }); // [b, s, h/t]
    using projected = this.projection.forwardWithoutBias(context); // [b, s, h]
    return biasDropoutAdd(projected, this.projection.bias.value, x, this.#dropout('attentionOutput', state));
  }

  #feedForward(x: Tensor, state: ForwardState): Tensor {
    const { toFeedForward, fromFeedForward } = this;
    const { gelu } = this.#config;
    const rides = slopeRidesOnProduct(x, toFeedForward.bias.value.size, gelu);
    using wide = this.#cheapPart([x], () => {
      using normed = this.preMlpLayerNorm.forward(x); // [b, s, h]
      return rides ? toFeedForward.forward(normed) : toFeedForward.forwardWithoutBias(normed); // [b, s, f/t]
    });
    return this.#cheapPart([wide, x, ...counterTensors(state.firstSample)], () => {
      using narrow = rides ? fromFeedForward.forwardOfGelu(wide, gelu) : this.#afterGelu(wide); // [b, s, h]
      return biasDropoutAdd(narrow, fromFeedForward.bias.value, x, this.#dropout('mlpOutput', state));
    });
  }

  /** [b, s, f/t] without its bias → [b, s, h] */
  #afterGelu(wide: Tensor): Tensor {
    using active = biasGelu(wide, this.toFeedForward.bias.value, this.#config.gelu); // [b, s, f/t]
    return this.fromFeedForward.forwardWithoutBias(active);
  }

  /**
   * A part whose activation is cheaper to compute again than to keep. The product behind it is in the part so that nothing
   * keeps that activation; it is not run again, for no backward pass reads its result.
   */
  #cheapPart(kept: readonly Tensor[], body: () => Tensor): Tensor {
    return this.#recomputesCheapParts ? recompute(`part of layer ${this.#index}`, kept, body) : body();
  }

  #dropout(site: DropoutSite, state: ForwardState): DropoutAt {
    return dropoutAt(this.#config, this.#index, site, state);
  }
}
