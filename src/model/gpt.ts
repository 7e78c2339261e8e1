/** GPT-2 as the paper trains it: embeddings, transformer layers, a final layer norm, logits by the tied embedding. */

import { recompute } from '../autograd/recompute.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';
import { add } from '../ops/add/op.ts';
import { counterTensors, dropout } from '../ops/dropout/op.ts';
import { shareOf } from '../parallel/layers.ts';
import { Parameters } from '../parallel/parameters.ts';
import { VocabParallelEmbedding } from '../parallel/vocabulary.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { GptConfig } from './config.ts';
import { KeyValueCache } from './key-value-cache.ts';
import { Embedding, LayerNorm } from './layers.ts';
import { type LayerGroup, layerGroups, type Recomputation } from './recomputation.ts';
import { dropoutAt, type ForwardState, TransformerLayer } from './transformer-layer.ts';

export interface GptOptions {
  /** Where the parameters are declared; in a set of the model's own where not given. */
  readonly parameters?: Parameters;
  /** What backward computes again to save memory; nothing where not given. It changes no bit of the results. */
  readonly recomputation?: Recomputation;
}

export class GptModel {
  readonly config: GptConfig;
  readonly parameters: Parameters;
  readonly recomputation: Recomputation;
  /** The layers in the groups that `recomputation` makes of them. */
  readonly layerGroups: readonly LayerGroup[];
  readonly wordEmbeddings: VocabParallelEmbedding;
  readonly positionEmbeddings: Embedding;
  readonly layers: readonly TransformerLayer[];
  readonly finalLayerNorm: LayerNorm;
  /** The matrix of the logits: the word embeddings themselves where they are tied. */
  readonly output: VocabParallelEmbedding;
  readonly #group: Communicator;

  /**
   * Declares the parameters; allocate and initialize them (or load a checkpoint) before the first forward pass.
   *
   * @param group the ranks that split the model; this rank alone where not given
   * @throws UsageError when heads or feed-forward width cannot be split evenly over the group, or there are fewer layers than
   *   shall be recomputed.
   */
  constructor(config: GptConfig, group = selfCommunicator(), options: GptOptions = {}) {
    const { parameters = new Parameters(), recomputation = { granularity: 'none' } } = options;
    const { hiddenSize: width, initMethodStd: deviation, vocabSize: entries } = config;
    const words = { entries, width, divisibleBy: config.makeVocabSizeDivisibleBy, deviation };
    const positions = { entries: config.maxPositionEmbeddings, width };
    this.config = config;
    this.parameters = parameters;
    this.recomputation = recomputation;
    this.#group = group;
    this.layerGroups = layerGroups(config.numLayers, recomputation);
    this.wordEmbeddings = new VocabParallelEmbedding(parameters, 'embedding.word_embeddings', words, group);
    this.positionEmbeddings = new Embedding(parameters, 'embedding.position_embeddings', positions, deviation);
    this.layers = Array.from(
      { length: config.numLayers },
      (_, index) => new TransformerLayer(parameters, config, index, group, recomputation.granularity === 'selective'),
    );
    this.finalLayerNorm = new LayerNorm(parameters, 'decoder.final_layernorm', width, config.layernormEpsilon);
    this.output = config.tiedEmbeddings
      ? this.wordEmbeddings
      : new VocabParallelEmbedding(parameters, 'output_layer', words, group);
  }

  /**
   * @param tokens int32 [b, s]
   * @param positions int32 [b, s]
   * @returns [b, s, h], after the final layer norm
   */
  hidden(tokens: Tensor, positions: Tensor, state: ForwardState): Tensor {
    let x = this.#embed(tokens, positions, state);
    for (const group of this.layerGroups) {
      using input = x;
      const run = (): Tensor => this.#runLayers(group, input, state); // [b, s, h]
      x = group.recomputed
        ? recompute('layers', [input, state.firstKey, ...counterTensors(state.firstSample)], run)
        : run();
    }
    using last = x;
    return this.finalLayerNorm.forward(last);
  }

  #runLayers({ first, end }: LayerGroup, x: Tensor, state: ForwardState): Tensor {
    let y = x;
    for (const layer of this.layers.slice(first, end)) {
      using _done = y === x ? undefined : y; // x is the caller's
      y = layer.forward(y, state);
    }
    return y;
  }

  /** [b, s, h] → [b, s, padded v], gathered from all ranks; columns from `vocabSize` on are padding. */
  logits(hidden: Tensor): Tensor {
    return this.output.gatheredLogits(hidden);
  }

  /**
   * The loss of every token, in nats.
   *
   * @param tokens int32 [b, s]
   * @param positions int32 [b, s]
   * @param labels int32 [b, s]
   * @returns [b, s]
   */
  tokenLosses(tokens: Tensor, positions: Tensor, labels: Tensor, state: ForwardState): Tensor {
    using hidden = this.hidden(tokens, positions, state); // [b, s, h]
    using logits = this.output.logits(hidden); // [b, s, padded v/t]
    return this.output.loss(logits, labels);
  }

  /** What backward computes again, for counts of work. */
  get recomputedWork(): { readonly layers: number; readonly groups: number } {
    const groups = this.layerGroups.filter(({ recomputed }) => recomputed);
    return { layers: groups.reduce((sum, { first, end }) => sum + end - first, 0), groups: groups.length };
  }

  /** An empty cache for generation with `batch` rows of up to `capacity` positions. */
  newCache(batch: number, capacity: number): KeyValueCache {
    const { numLayers, numAttentionHeads, hiddenSize } = this.config;
    const heads = shareOf(numAttentionHeads, this.#group, '--num-attention-heads');
    const width = hiddenSize / numAttentionHeads;
    const { engine, dtype } = this.output.weight.value; // activations are of the type of the matrices
    return new KeyValueCache(engine, { layers: numLayers, heads, width, batch, capacity, dtype });
  }

  #embed(tokens: Tensor, positions: Tensor, state: ForwardState): Tensor {
    using words = this.wordEmbeddings.forward(tokens); // [b, s, h]
    using places = this.positionEmbeddings.forward(positions); // [b, s, h]
    const sum = add(words, places);
    const at = dropoutAt(this.config, -1, 'embedding', state);
    if (at.probability === 0) return sum;
    using dropped = sum;
    return dropout(dropped, at);
  }
}
