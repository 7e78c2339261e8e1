/** Between the configuration of a run, the architecture in its checkpoints and the model. */

import { CheckpointError } from '../base/errors.ts';
import { type Checkpoint, describeDifferences, type JsonObject } from '../checkpoint/index.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import { type GptArchitecture, type GptConfig, gptConfig } from '../model/config.ts';

/** The model that the options of a run describe. */
export function modelOfRun(config: PretrainGptConfig, vocabSize: number): GptConfig {
  return gptConfig({
    numLayers: config.numLayers,
    hiddenSize: config.hiddenSize,
    numAttentionHeads: config.numAttentionHeads,
    maxPositionEmbeddings: config.maxPositionEmbeddings,
    makeVocabSizeDivisibleBy: config.makeVocabSizeDivisibleBy,
    vocabSize,
    layernormEpsilon: config.layernormEpsilon,
    gelu: config.openaiGelu ? 'tanh' : 'erf',
    initMethodStd: config.initMethodStd,
    attentionDropout: config.attentionDropout,
    hiddenDropout: config.hiddenDropout,
    seed: config.seed,
  });
}

/** What a checkpoint says of its model. The padding of the vocabulary is not part of it: it is not stored. */
export function architectureRecord(config: GptArchitecture): JsonObject {
  const { numLayers, hiddenSize, numAttentionHeads, ffnHiddenSize, maxPositionEmbeddings } = config;
  const { vocabSize, layernormEpsilon, gelu, tiedEmbeddings } = config;
  return {
    model: 'gpt',
    ...{ numLayers, hiddenSize, numAttentionHeads, ffnHiddenSize, maxPositionEmbeddings },
    ...{ vocabSize, layernormEpsilon, gelu, tiedEmbeddings },
  };
}

/** @throws CheckpointError listing every difference between the checkpoint's model and the run's. */
export function assertSameArchitecture(checkpoint: Checkpoint, config: GptArchitecture): void {
  const differences = describeDifferences(checkpoint.manifest.architecture, architectureRecord(config));
  if (differences.length === 0) return;
  throw new CheckpointError(`the checkpoint ${checkpoint.folder} is of another model:\n  ${differences.join('\n  ')}`, {
    remedy: "Give the checkpoint's values on the command line, or leave out --load to start a new model.",
  });
}

/** The model of a checkpoint, dropout off. @throws CheckpointError when it is not a GPT or lacks a size. */
export function modelOfCheckpoint(checkpoint: Checkpoint): GptConfig {
  const { architecture } = checkpoint.manifest;
  const refuse = (what: string): never => {
    throw new CheckpointError(`the checkpoint ${checkpoint.folder} ${what}`, { remedy: 'Load a GPT checkpoint.' });
  };
  if (architecture['model'] !== 'gpt') refuse(`is of a model "${String(architecture['model'])}", not gpt`);
  const size = (key: string): number => {
    const value = architecture[key];
    return typeof value === 'number' ? value : refuse(`does not say its ${key}`);
  };
  const { gelu, tiedEmbeddings } = architecture;
  return gptConfig({
    numLayers: size('numLayers'),
    hiddenSize: size('hiddenSize'),
    numAttentionHeads: size('numAttentionHeads'),
    ffnHiddenSize: size('ffnHiddenSize'),
    maxPositionEmbeddings: size('maxPositionEmbeddings'),
    vocabSize: size('vocabSize'),
    layernormEpsilon: size('layernormEpsilon'),
    gelu: gelu === 'tanh' || gelu === 'erf' ? gelu : refuse(`has a gelu that is not known: ${JSON.stringify(gelu)}`),
    tiedEmbeddings: typeof tiedEmbeddings === 'boolean' ? tiedEmbeddings : refuse('does not say its tiedEmbeddings'),
    attentionDropout: 0,
    hiddenDropout: 0,
  });
}
