/** The architecture of a GPT model: all that decides the shapes and the arithmetic of a forward pass. */

import { UsageError } from '../base/errors.ts';
import type { GeluForm } from '../ops/gelu/kernels.ts';

export interface GptArchitecture {
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  readonly ffnHiddenSize: number;
  readonly maxPositionEmbeddings: number;
  /** Entries of the vocabulary, without padding. */
  readonly vocabSize: number;
  readonly layernormEpsilon: number;
  readonly gelu: GeluForm;
  /** False where the logits have a matrix of their own. */
  readonly tiedEmbeddings: boolean;
}

/** How a model is initialized and regularized; not part of what a checkpoint fixes. */
export interface GptTraining {
  readonly initMethodStd: number;
  readonly attentionDropout: number;
  readonly hiddenDropout: number;
  /** Seed of the initial weights and of dropout. */
  readonly seed: number;
  /** The vocabulary in memory is padded up to a multiple of this. */
  readonly makeVocabSizeDivisibleBy: number;
}

export type GptConfig = GptArchitecture & GptTraining;

/** A whole configuration from the sizes that matter; everything else as the paper has it. */
export function gptConfig(
  sizes: Pick<
    GptArchitecture,
    'numLayers' | 'hiddenSize' | 'numAttentionHeads' | 'maxPositionEmbeddings' | 'vocabSize'
  > &
    Partial<GptConfig>,
): GptConfig {
  const config: GptConfig = {
    ffnHiddenSize: 4 * sizes.hiddenSize,
    layernormEpsilon: 1e-5,
    gelu: 'erf',
    tiedEmbeddings: true,
    initMethodStd: 0.02,
    attentionDropout: 0.1,
    hiddenDropout: 0.1,
    seed: 1234,
    makeVocabSizeDivisibleBy: 128,
    ...sizes,
  };
  if (config.hiddenSize % config.numAttentionHeads !== 0) {
    throw new UsageError(`hidden size ${config.hiddenSize} is not a multiple of ${config.numAttentionHeads} heads`);
  }
  return config;
}

/** Entries of the embedding table in memory. */
export const paddedVocabSize = (config: Pick<GptConfig, 'vocabSize' | 'makeVocabSizeDivisibleBy'>): number =>
  Math.ceil(config.vocabSize / config.makeVocabSizeDivisibleBy) * config.makeVocabSizeDivisibleBy;
