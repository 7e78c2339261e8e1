/** A GPT model and its token data as a training task. */

import type { BatchSource, MicroBatch } from '../data/gpt/batches.ts';
import type { GptModel } from '../model/gpt.ts';
import { weightedSum } from '../ops/weighted-sum/op.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { TrainTask } from './task.ts';

/** Opens batch sources at positions in the data; undefined where the run has no such split. */
export interface GptBatches {
  train(consumedSamples: number): BatchSource;
  validation?: (consumedSamples: number) => BatchSource;
  test?: () => BatchSource;
}

export function gptTask(engine: Engine, model: GptModel, batches: GptBatches): TrainTask<MicroBatch> {
  return {
    engine,
    parameters: model.parameters,
    trainBatches: batches.train,
    ...(batches.validation ? { validationBatches: batches.validation } : {}),
    ...(batches.test ? { testBatches: batches.test } : {}),
    countTerms: ({ lossMask }) => lossMask.reduce((sum, counts) => sum + counts, 0),
    forwardStep: (batch, training) => gptLossSum(engine, model, batch, training),
  };
}

/** Σ loss · mask over a micro-batch, a scalar []. */
export function gptLossSum(engine: Engine, model: GptModel, batch: MicroBatch, training: boolean): Tensor {
  const shape = [batch.microBatchSize, batch.seqLength]; // [b, s]
  const ids = (values: Int32Array): Tensor => Tensor.from(engine, values, shape, { dtype: 'i32' });
  using tokens = ids(batch.tokens);
  using positions = ids(batch.positionIds);
  using labels = ids(batch.labels);
  using firstKey = batch.firstKey && ids(batch.firstKey);
  using mask = Tensor.from(engine, batch.lossMask, shape);
  using losses = model.tokenLosses(tokens, positions, labels, { training, firstSample: batch.firstSample, firstKey });
  return weightedSum(losses, mask);
}
