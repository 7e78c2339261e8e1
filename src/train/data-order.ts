/** What decides the order of a run's data, so that a run that goes on can tell when it would read another. */

import { type Checkpoint, describeDifferences, type JsonObject } from '../checkpoint/index.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';

/** Sample n is a function of these. On files also of their number: it decides over how many epochs samples are shuffled. */
export function dataOrderRecord(config: PretrainGptConfig): JsonObject {
  const { seed, seqLength, split, trainIters, globalBatchSize } = config;
  return { seed, seqLength, split, ...(config.dataPath ? { trainSamples: trainIters * globalBatchSize } : {}) };
}

/** A sentence on what changed since the checkpoint; undefined where nothing did. */
export function changedOrderWords(checkpoint: Checkpoint, config: PretrainGptConfig): string | undefined {
  const saved = checkpoint.manifest.trainingState['dataOrder'] as JsonObject | undefined;
  const differences = saved ? describeDifferences(saved, dataOrderRecord(config)) : [];
  if (differences.length === 0) return undefined;
  return `note: data may come in another order than the checkpoint's run would have read it: ${differences.join('; ')}`;
}
