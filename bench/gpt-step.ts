/** One training step of a GPT-2 model, as the benchmarks measure it. */

import { UsageError } from '../src/base/errors.ts';
import { gptConfig, paddedVocabSize } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import type { Recomputation } from '../src/model/recomputation.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { type RankGrid, soloGrid } from '../src/parallel/grid.ts';
import type { DType } from '../src/tensor/dtype.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { countLossTerms, gptForward } from '../src/train/gpt-loss.ts';
import { modelFlopsPerToken, palmFlopsPerToken } from '../src/train/report/flops.ts';
import { type StepUnderWay, TrainingSteps } from '../src/train/step.ts';

/** GPT-2's sizes. */
const models: Record<string, { readonly layers: number; readonly hidden: number; readonly heads: number }> = {
  tiny: { layers: 2, hidden: 128, heads: 4 },
  '124m': { layers: 12, hidden: 768, heads: 12 },
  '355m': { layers: 24, hidden: 1024, heads: 16 },
};

export const precisions: Record<string, DType> = { fp32: 'f32', bf16: 'bf16', fp16: 'f16' };

/** @throws UsageError for a name that is none of `table`. */
export function pick<Value>(table: Record<string, Value>, name: string, what: string): Value {
  const value = table[name];
  if (value === undefined) throw new UsageError(`no ${what} ${name}; choose ${Object.keys(table).join(', ')}`);
  return value;
}

const recomputations: Record<string, Recomputation> = {
  none: { granularity: 'none' },
  selective: { granularity: 'selective' },
  full: { granularity: 'full', method: 'uniform', numLayers: 1 },
};

type StepOption = 'model' | 'precision' | 'batch' | 'seq' | 'dropout';

/** Sizes from the options `--model --precision --batch --seq --dropout`, and `--recompute`, of a benchmark. */
export function stepSizes(options: Record<StepOption, string> & { readonly recompute?: string }): StepSizes {
  return {
    recomputation: pick(recomputations, options.recompute ?? 'none', 'recomputation'),
    ...pick(models, options.model, 'model'),
    computeType: pick(precisions, options.precision, 'precision'),
    ...{ batch: Number(options.batch), seq: Number(options.seq), dropout: Number(options.dropout) },
  };
}

export interface StepSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly batch: number;
  readonly seq: number;
  readonly dropout: number;
  /** Element type of activations. */
  readonly computeType: DType;
  /** Default GPT-2's 50,257. */
  readonly vocabulary?: number;
  readonly recomputation?: Recomputation;
}

/** A GPT-2 model, an optimizer and one fixed batch: `step` makes one update, of this rank's part. */
export function gptStep(engine: Engine, sizes: StepSizes, grid: RankGrid = soloGrid()) {
  const { layers, hidden, heads, batch, seq, dropout, computeType, vocabulary = 50257, recomputation } = sizes;
  const config = gptConfig({
    ...{
      numLayers: layers,
      hiddenSize: hidden,
      numAttentionHeads: heads,
      maxPositionEmbeddings: seq,
      vocabSize: vocabulary,
    },
    ...{ attentionDropout: dropout, hiddenDropout: dropout },
  });
  const model = new GptModel(config, grid.tensor, recomputation ? { recomputation } : {});
  model.parameters.allocate(engine, { computeType });
  model.parameters.initialize(1234);
  const optimizer = new AdamW(model.parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  // The same tokens as the peer's: a linear congruential sequence, which no tokenizer is needed for.
  const text = new Int32Array(batch * (seq + 1));
  for (let i = 0, state = 1; i < text.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text[i] = state % vocabulary;
  }
  const rows = (shift: number): Int32Array =>
    Int32Array.from(
      { length: batch * seq },
      (_, i) => text[Math.floor(i / seq) * (seq + 1) + (i % seq) + shift] as number,
    );
  const micro = {
    ...{ microBatchSize: batch, seqLength: seq, tokens: rows(0), labels: rows(1), firstKey: undefined, firstSample: 0 },
    lossMask: new Float32Array(batch * seq).fill(1),
    positionIds: Int32Array.from({ length: batch * seq }, (_, i) => i % seq),
  };
  const stream = { next: () => micro, consumedSamples: 0 };
  const task = {
    engine,
    grid,
    parameters: model.parameters,
    trainBatches: () => stream,
    validationBatches: () => undefined,
    testBatches: () => undefined,
    countTerms: countLossTerms,
    forwardStep: gptForward(model),
  };
  const steps = new TrainingSteps(task, optimizer, false);
  const update = { learningRate: 1e-4, clipGrad: 1 };
  let loss = Number.NaN;
  let underWay: StepUnderWay | undefined;
  const settle = (): void => {
    if (underWay) loss = underWay.settle().loss;
    underWay = undefined;
  };
  const shape = { numLayers: layers, hiddenSize: hidden, sequenceLength: seq };
  return {
    // as the training loop: on a GPU a step begins before the numbers of the one before are read
    step: () => {
      const next = steps.begin(stream, 1, update);
      settle();
      underWay = next;
      if (!steps.mayOverlap) settle();
    },
    loss: () => {
      settle();
      return loss;
    },
    [Symbol.dispose]: () => {
      for (const part of [steps, optimizer, model.parameters]) part[Symbol.dispose]();
    },
    modelFlops: modelFlopsPerToken({ ...shape, vocabularySize: paddedVocabSize(config) }),
    palmFlops: palmFlopsPerToken({ ...shape, parameterCount: model.parameters.count }),
  };
}
