/** The forward step of GPT pretraining: a micro-batch in, the sum of its token losses out. */

import type { MicroBatch } from '../data/gpt/batches.ts';
import type { GptModel } from '../model/gpt.ts';
import { expectIds } from '../ops/embedding/op.ts';
import { weightedSum } from '../ops/weighted-sum/op.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Tokens of a micro-batch whose loss counts. */
export const countLossTerms = ({ lossMask }: MicroBatch): number => lossMask.reduce((sum, counts) => sum + counts, 0);

/** Σ loss · mask over a micro-batch, a scalar []. */
export function gptLossSum(engine: Engine, model: GptModel, batch: MicroBatch, training: boolean): Tensor {
  const shape = [batch.microBatchSize, batch.seqLength]; // [b, s]
  const ids = (values: Int32Array): Tensor => Tensor.from(engine, values, shape, { dtype: 'i32' });
  if (engine.backend.device) expectIds(batch.tokens, model.config.vocabSize); // the operator cannot see them
  using tokens = ids(batch.tokens);
  using positions = ids(batch.positionIds);
  using labels = ids(batch.labels);
  using firstKey = batch.firstKey && ids(batch.firstKey);
  using mask = Tensor.from(engine, batch.lossMask, shape);
  using losses = model.tokenLosses(tokens, positions, labels, { training, firstSample: batch.firstSample, firstKey });
  return weightedSum(losses, mask);
}
