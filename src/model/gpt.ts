/** GPT-2 as the paper trains it: embeddings, transformer layers, a final layer norm, logits by the tied embedding. */

import { add } from '../ops/add/op.ts';
import { crossEntropy } from '../ops/cross-entropy/op.ts';
import { dropout } from '../ops/dropout/op.ts';
import { linear } from '../ops/linear/op.ts';
import { Parameters } from '../parallel/parameters.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type GptConfig, paddedVocabSize } from './config.ts';
import { Embedding, LayerNorm } from './layers.ts';
import { dropoutAt, type ForwardState, TransformerLayer } from './transformer-layer.ts';

export class GptModel {
  readonly config: GptConfig;
  readonly parameters: Parameters;
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly layers: readonly TransformerLayer[];
  readonly finalLayerNorm: LayerNorm;
  /** The matrix of the logits: the word embeddings themselves where they are tied. */
  readonly output: Embedding;

  /** Declares the parameters; allocate and initialize them (or load a checkpoint) before the first forward pass. */
  constructor(config: GptConfig, parameters = new Parameters()) {
    const { hiddenSize: width, initMethodStd: deviation, vocabSize: entries } = config;
    const words = { entries, width, paddedEntries: paddedVocabSize(config) };
    const positions = { entries: config.maxPositionEmbeddings, width };
    this.config = config;
    this.parameters = parameters;
    this.wordEmbeddings = new Embedding(parameters, 'embedding.word_embeddings', words, deviation);
    this.positionEmbeddings = new Embedding(parameters, 'embedding.position_embeddings', positions, deviation);
    this.layers = Array.from(
      { length: config.numLayers },
      (_, index) => new TransformerLayer(parameters, config, index),
    );
    this.finalLayerNorm = new LayerNorm(parameters, 'decoder.final_layernorm', width, config.layernormEpsilon);
    this.output = config.tiedEmbeddings
      ? this.wordEmbeddings
      : new Embedding(parameters, 'output_layer', words, deviation);
  }

  /**
   * @param tokens int32 [b, s]
   * @param positions int32 [b, s]
   * @returns [b, s, h], after the final layer norm
   */
  hidden(tokens: Tensor, positions: Tensor, state: ForwardState): Tensor {
    let x = this.#embed(tokens, positions, state);
    for (const layer of this.layers) {
      using input = x;
      x = layer.forward(input, state); // [b, s, h]
    }
    using last = x;
    return this.finalLayerNorm.forward(last);
  }

  /** [b, s, h] → [b, s, padded v]; columns from `vocabSize` on are padding. */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.output.weight.value);
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
    using logits = this.logits(hidden); // [b, s, padded v]
    return crossEntropy(logits, labels, { entries: this.config.vocabSize });
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
