/** What decides the order of a run's data, so that a run that goes on can tell when it would read another. */

import { basename } from 'node:path';
import { type Checkpoint, describeDifferences, type JsonObject } from '../checkpoint/index.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import { parseDataPath } from '../data/gpt/blend.ts';

/** Sample n is a function of these, and so is what is masked in it. On files also of their number: it decides over how many epochs samples are shuffled. */
export function dataOrderRecord(config: PretrainGptConfig): JsonObject {
  const { seed, seqLength, split, trainIters, globalBatchSize, resetPositionIds, resetAttentionMask, eodMaskLoss } =
    config;
  return {
    ...{ seed, seqLength, split, resetPositionIds, resetAttentionMask, eodMaskLoss },
    ...(config.dataPath ? { dataPath: dataWords(config.dataPath), trainSamples: trainIters * globalBatchSize } : {}),
  };
}

/** `0.3 books 0.7 news`: weights and names alone, so that data may move to another folder. */
function dataWords(dataPath: readonly string[]): string {
  const { prefixes, weights } = parseDataPath(dataPath);
  return prefixes.map((prefix, i) => `${weights ? `${weights[i]} ` : ''}${basename(prefix)}`).join(' ');
}

/** A sentence on what changed since the checkpoint; undefined where nothing did. */
export function changedOrderWords(checkpoint: Checkpoint, config: PretrainGptConfig): string | undefined {
  const saved = checkpoint.manifest.trainingState['dataOrder'] as JsonObject | undefined;
  const differences = saved ? describeDifferences(saved, dataOrderRecord(config)) : [];
  if (differences.length === 0) return undefined;
  return `note: data may not come as the checkpoint's run would have read it: ${differences.join('; ')}`;
}
