/** The forward step of GPT pretraining: a micro-batch in, the sum of its token losses out. */

import type { MicroBatch } from '../data/gpt/batches.ts';
import type { GptModel } from '../model/gpt.ts';
import { expectIds } from '../ops/embedding/op.ts';
import { weightedSum } from '../ops/weighted-sum/op.ts';
import { counterShape, counterWords } from '../tensor/counter.ts';
import type { Engine } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { HostNumbers } from './batch-inputs.ts';
import { forwardBatch, type StagedForward } from './task.ts';

/** Tokens of a micro-batch whose loss counts. */
export const countLossTerms = ({ lossMask }: MicroBatch): number => lossMask.reduce((sum, counts) => sum + counts, 0);

type InputName = 'tokens' | 'positions' | 'labels' | 'mask' | 'firstSample' | 'firstKey';

/** Σ loss · mask over a micro-batch, a scalar []; in two parts, so that a GPU may record it. */
export const gptForward = (model: GptModel): StagedForward<MicroBatch, InputName> => ({
  inputs(batch) {
    const shape = [batch.microBatchSize, batch.seqLength]; // [b, s]
    const ids = (values: Int32Array): HostNumbers => ({ values, shape, dtype: 'i32' });
    expectIds(batch.tokens, model.config.vocabSize); // the operator cannot see them on a GPU
    return {
      tokens: ids(batch.tokens),
      positions: ids(batch.positionIds),
      labels: ids(batch.labels),
      mask: { values: batch.lossMask, shape },
      firstSample: { values: counterWords(batch.firstSample), shape: counterShape, dtype: 'i32' },
      ...(batch.firstKey && { firstKey: ids(batch.firstKey) }),
    };
  },
  forward(inputs, training) {
    const [tokens, positions, labels] = [inputs.tensor('tokens'), inputs.tensor('positions'), inputs.tensor('labels')];
    const state = { training, firstSample: inputs.tensor('firstSample'), firstKey: inputs.optional('firstKey') };
    using losses = model.tokenLosses(tokens, positions, labels, state); // [b, s]
    return weightedSum(losses, inputs.tensor('mask'));
  },
});

/** The same for one batch, whose tensors are made for it. */
export const gptLossSum = (engine: Engine, model: GptModel, batch: MicroBatch, training: boolean): Tensor =>
  forwardBatch(engine, gptForward(model), batch, training);
