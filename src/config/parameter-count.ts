/** How many parameters a GPT has, by formula: for the log, the plans and the check of the ready configurations. */

export interface GptSize {
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly maxPositionEmbeddings: number;
}

/** `vocabSize` padded up, so that kernels and workers get even shares. */
export function paddedVocabSize(vocabSize: number, makeVocabSizeDivisibleBy: number): number {
  return Math.ceil(vocabSize / makeVocabSizeDivisibleBy) * makeVocabSizeDivisibleBy;
}

/**
 * Parameters of a GPT with tied embeddings: v·h + positions·h + L·(12·h² + 13·h) + 2·h.
 *
 * A layer has QKV 3h²+3h, attention projection h²+h, MLP 8h²+5h and two layer norms of 2h. The paper's sizes (Table 1) count the
 * padded vocabulary.
 *
 * @param vocabularySize rows of the word embedding, v
 */
export function gptParameterCount(size: GptSize, vocabularySize: number): number {
  const { numLayers, hiddenSize: h, maxPositionEmbeddings } = size;
  return vocabularySize * h + maxPositionEmbeddings * h + numLayers * (12 * h * h + 13 * h) + 2 * h;
}
