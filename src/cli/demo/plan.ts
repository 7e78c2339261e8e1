/** How large a model the demo trains, and for how long: what fits into a few minutes on this machine. */

import { pretrainGptCommand } from '../../config/pretrain-gpt.ts';
import { createBatchSource, type MicroBatch } from '../../data/gpt/batches.ts';
import { createMockDataset } from '../../data/gpt/mock.ts';
import { paddedVocabSize } from '../../model/config.ts';
import { GptModel } from '../../model/gpt.ts';
import { AdamW } from '../../optim/adamw.ts';
import { soloGrid } from '../../parallel/grid.ts';
import type { Engine, EngineName } from '../../tensor/engine.ts';
import { modelOfRun } from '../../train/gpt-architecture.ts';
import { countLossTerms, gptLossSum } from '../../train/gpt-loss.ts';
import { modelFlopsPerToken } from '../../train/report/flops.ts';
import { TrainingSteps } from '../../train/step.ts';
import type { TrainTask } from '../../train/task.ts';
import type { CorpusLimits } from './corpus.ts';

/** A model and how it is best trained in so short a time. */
export type ModelSize = {
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numAttentionHeads: number;
  readonly seqLength: number;
  readonly microBatchSize: number;
  readonly lr: number;
  /** With fewer updates a smaller model gets further: in minutes, what counts is how much text was seen. */
  readonly leastIters: number;
};

export type ModelPlan = ModelSize & {
  readonly trainIters: number;
  /** Measured in training steps; 0 where the number of updates was given. */
  readonly tokensPerSecond: number;
  /** Training ends here although updates are left, for a machine that was faster when it was measured; 0 for no limit. */
  readonly mostMinutes: number;
  /** Numbers that are trained. */
  readonly parameters: number;
  /** Ranks that share every layer, as threads; the reference engine would lose more between them than it gains. */
  readonly ranks: number;
};

/** What the demo does on one kind of engine. */
export interface Course {
  readonly corpus: CorpusLimits;
  readonly vocabSize: number;
  /** From small to large. */
  readonly sizes: readonly [ModelSize, ...ModelSize[]];
  /** The one for a given number of updates. */
  readonly usual: ModelSize;
}

const shape = { numAttentionHeads: 4, seqLength: 128, microBatchSize: 8, lr: 3e-3 };
const tiny: ModelSize = {
  ...{ numLayers: 2, hiddenSize: 64, numAttentionHeads: 2, seqLength: 64, microBatchSize: 4 },
  ...{ lr: 4e-3, leastIters: 1 },
};
const usual: ModelSize = { ...shape, numLayers: 2, hiddenSize: 128, leastIters: 500 };
const larger: ModelSize = { ...shape, numLayers: 4, hiddenSize: 128, leastIters: 4000 };
const large: ModelSize = { ...shape, numLayers: 4, hiddenSize: 192, lr: 2e-3, leastIters: 6000 };
const huge: ModelSize = { ...shape, numLayers: 6, hiddenSize: 256, lr: 1.5e-3, leastIters: 10_000 };

const fullCourse: Course = {
  corpus: { totalBytes: 8_000_000, fileBytes: 300_000, validBytes: 50_000, testBytes: 200_000 },
  vocabSize: 4096,
  sizes: [tiny, usual, larger, large, huge],
  usual,
};

export const courses: Readonly<Record<EngineName, Course>> = {
  cpu: fullCourse,
  cuda: fullCourse,
  // A hundred times slower: every part of the work is cut to what that leaves room for.
  reference: {
    corpus: { totalBytes: 2_000_000, fileBytes: 100_000, validBytes: 6_000, testBytes: 12_000 },
    vocabSize: 1024,
    sizes: [tiny],
    usual: tiny,
  },
};

/** Time for training, validations and checkpoints included; with all the other stages it makes about four minutes. */
const trainingMs = 190_000;
const mostMinutes = 4;
/** Of a run that is not very short. */
export const validations = 10;
const probeMs = 1_500;

/** Every option of a training run that the model's size decides. */
export function sizeOptions(size: ModelSize): Record<string, unknown> {
  const { numLayers, hiddenSize, numAttentionHeads, seqLength, microBatchSize, lr } = size;
  return { numLayers, hiddenSize, numAttentionHeads, seqLength, microBatchSize, lr };
}

/**
 * The size for a given number of updates, or else the largest that this machine trains well in the time there is:
 * sizes are tried from small to large, each for a second or two on made-up data.
 */
export function planModel(
  engine: Engine,
  vocabSize: number,
  options: {
    readonly trainIters: number | undefined;
    /** Tokens that one validation reads. */
    readonly validTokens: number;
    readonly seed: number;
    readonly onProbe?: (size: ModelSize) => void;
  },
): ModelPlan {
  const { sizes, usual } = courses[engine.name];
  const { trainIters, seed, onProbe } = options;
  const probe = (size: ModelSize): ModelPlan => {
    onProbe?.(size);
    return plannedFor(engine, size, vocabSize, options);
  };
  if (trainIters !== undefined) {
    const { parameters } = measure(engine, usual, vocabSize, seed, 0);
    return { ...usual, trainIters, tokensPerSecond: 0, mostMinutes: 0, parameters, ranks: ranksFor(engine) };
  }
  const [first, ...larger] = sizes;
  let best = probe(first);
  for (const size of larger) {
    const slower = flopsPerUpdate(size, vocabSize) / flopsPerUpdate(best, vocabSize);
    // Larger products run at a better rate, so a size is tried also where the smaller one's rate says that it just misses.
    if ((3 * best.trainIters) / slower < size.leastIters) break;
    const planned = probe(size);
    if (planned.trainIters < size.leastIters) break;
    best = planned;
  }
  return best;
}

const ranksFor = (engine: Engine): number => (engine.name === 'cpu' && engine.backend.threads > 1 ? 2 : 1);

function plannedFor(
  engine: Engine,
  size: ModelSize,
  vocabSize: number,
  { seed, validTokens }: { readonly seed: number; readonly validTokens: number },
): ModelPlan {
  const { stepMs, parameters } = measure(engine, size, vocabSize, seed, probeMs);
  const batchTokens = size.seqLength * size.microBatchSize;
  // A forward pass is a third of an update.
  const validationMs = (validations * validTokens * stepMs) / batchTokens / 3;
  // Round numbers, so that log lines, validations and checkpoints fall on the same updates.
  const most = (trainingMs - validationMs) / stepMs;
  const round = most < 1000 ? 10 : 100;
  const fitting = Math.floor(most / round) * round;
  const trainIters = Math.max(10 * validations, fitting);
  const tokensPerSecond = Math.round((batchTokens * 1000) / stepMs);
  return { ...size, trainIters, tokensPerSecond, mostMinutes, parameters, ranks: ranksFor(engine) };
}

function flopsPerUpdate(size: ModelSize, vocabSize: number): number {
  const { numLayers, hiddenSize, seqLength: sequenceLength, microBatchSize } = size;
  const shape = { numLayers, hiddenSize, sequenceLength, vocabularySize: vocabSize };
  return modelFlopsPerToken(shape) * sequenceLength * microBatchSize;
}

/** Trains a few steps on made-up data and forgets them. @param milliseconds 0 only counts the parameters. */
function measure(
  engine: Engine,
  size: ModelSize,
  vocabSize: number,
  seed: number,
  milliseconds: number,
): { readonly stepMs: number; readonly parameters: number } {
  const { config } = pretrainGptCommand.configure({
    ...{ ...sizeOptions(size), vocabSize, seed, mockData: true },
    ...{ attentionDropout: 0, hiddenDropout: 0, trainIters: 100 },
  });
  const model = new GptModel(modelOfRun(config, vocabSize));
  const parameters = model.parameters.count;
  if (milliseconds === 0) return { stepMs: 0, parameters };
  const { seqLength, microBatchSize } = size;
  const most = 1000;
  const dataset = createMockDataset({
    ...{ length: most * microBatchSize, sequenceLength: seqLength, vocabSize: paddedVocabSize(model.config), seed },
  });
  const stream = createBatchSource({ dataset, microBatchSize, seqLength, consumedSamples: 0 });
  const stepMs = engine.scope(() => {
    model.parameters.allocate(engine);
    model.parameters.initialize(seed);
    using optimizer = new AdamW(model.parameters, { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 });
    const task: TrainTask<MicroBatch> = {
      ...{
        engine,
        grid: soloGrid(),
        parameters: model.parameters,
        countTerms: countLossTerms,
        trainBatches: () => stream,
      },
      ...{ validationBatches: () => undefined, testBatches: () => undefined },
      forwardStep: (batch) => gptLossSum(engine, model, batch, true),
    };
    using training = new TrainingSteps(task, optimizer, false);
    const step = () => training.begin(stream, 1, { learningRate: 1e-4, clipGrad: 1 }).settle();
    step(); // memory is taken and kernels are loaded now
    const start = performance.now();
    let steps = 0;
    do {
      step();
      steps++;
    } while (performance.now() - start < milliseconds && steps < most - 1);
    return (performance.now() - start) / steps;
  });
  engine.memory.trim();
  return { stepMs, parameters };
}
