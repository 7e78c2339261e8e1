/** A GPT so small that a step takes milliseconds, with everything a real one has, for tests on an engine of their own. */

import { createBatchSource, createMockDataset, type MicroBatch, type SampleDataset } from '../../src/data/index.ts';
import { type GptConfig, gptConfig } from '../../src/model/config.ts';
import { GptModel } from '../../src/model/gpt.ts';
import type { Engine } from '../../src/tensor/engine.ts';
import { countLossTerms, gptLossSum } from '../../src/train/gpt-loss.ts';
import type { Datasets, PretrainOptions } from '../../src/train/pretrain.ts';

// Read by the engine's threads when they start: threads that wait by spinning starve each other on a busy machine.
process.env['OMP_WAIT_POLICY'] ??= 'passive';

/** 67 tokens, of which the last ends a document. */
export const tinyConfig = (options: Partial<GptConfig> = {}): GptConfig =>
  gptConfig({
    ...{ numLayers: 2, hiddenSize: 16, numAttentionHeads: 2, maxPositionEmbeddings: 40, vocabSize: 67 },
    makeVocabSizeDivisibleBy: 16,
    ...options,
  });

export const endOfDocument = 66;

export interface TinyData {
  readonly microBatchSize: number;
  readonly seqLength?: number;
  /** Default: counting documents of 16 tokens and more. */
  readonly dataset?: SampleDataset;
  readonly resetPositionIds?: boolean;
  readonly resetAttentionMask?: boolean;
  readonly eodMaskLoss?: boolean;
}

/** Micro-batches from sample `consumedSamples` on. */
export function tinyBatches(data: TinyData, name: string, consumedSamples: number) {
  const { seqLength = 40 } = data;
  const dataset =
    data.dataset ??
    createMockDataset({ length: 1e6, sequenceLength: seqLength, vocabSize: 67, seed: 3, endOfDocument, name });
  return createBatchSource({ ...data, dataset, seqLength, consumedSamples, eodId: endOfDocument });
}

export const tinyDatasets = (data: TinyData): Datasets<MicroBatch> => ({
  train: (consumed) => tinyBatches(data, 'train', consumed),
  validation: (consumed) => tinyBatches(data, 'valid', consumed),
  test: () => tinyBatches(data, 'test', 0),
  countTerms: countLossTerms,
});

/** A model in the engine's memory with its initial values; the caller disposes its parameters. */
export function tinyModel(engine: Engine, options: Partial<GptConfig> = {}): GptModel {
  const model = new GptModel(tinyConfig(options));
  model.parameters.allocate(engine);
  model.parameters.initialize(model.config.seed);
  return model;
}

/** What `pretrain` is given besides the model and the data. */
export const tinyOptions = (engine: Engine): PretrainOptions<GptModel> => ({
  ...{ engine, seed: 1234, trainIters: 10, microBatchSize: 2, globalBatchSize: 4, logInterval: 1, clipGrad: 1 },
  ...{ lr: 0.01, minLr: 0.001, lrDecayStyle: 'cosine', lrDecayIters: 10, lrWarmupIters: 2 },
  adam: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
});

export const tinyForwardStep =
  (engine: Engine) =>
  (batch: MicroBatch, model: GptModel, training: boolean): ReturnType<typeof gptLossSum> =>
    gptLossSum(engine, model, batch, training);
