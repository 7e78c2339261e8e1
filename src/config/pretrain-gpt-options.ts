/** The options of `megatron pretrain gpt`, with Megatron's names and the paper's values (§4.2) where the paper gives one. */

import { z } from 'zod';
import { lrDecayStyles, wsdDecayStyles } from '../optim/learning-rate.ts';
import { flag } from './flag.ts';
import { formatFlags, lossScaleFlags } from './precision.ts';
import { profileFlags } from './profile-flags.ts';
import { recomputeFlags } from './recompute-flags.ts';
import { countSchema, debugFlag, engineFlags, pathSchema, seedFlag, tokenizerFlags } from './shared-flags.ts';

const positive = z.number().positive();
const dropoutSchema = z.number().min(0).lt(1);

/** The paper warms up over 3,000 of 300,000 iterations. */
export const defaultWarmupFraction = 0.01;
/** The paper's floor of the learning rate. */
export const defaultMinLr = 1e-5;

/** Size and shape of a GPT model. */
const gptModelFlags = {
  numLayers: flag(countSchema.default(24), { group: 'Model', help: 'transformer layers' }),
  hiddenSize: flag(countSchema.default(1024), { group: 'Model', help: 'width of the hidden state' }),
  numAttentionHeads: flag(countSchema.default(16), {
    group: 'Model',
    help: 'attention heads; they share the hidden size equally',
  }),
  seqLength: flag(countSchema.default(1024), { group: 'Model', help: 'tokens of one training sample' }),
  maxPositionEmbeddings: flag(countSchema.optional(), {
    group: 'Model',
    help: 'learned positions, which bound the length of any text',
    default: '--seq-length',
  }),
  makeVocabSizeDivisibleBy: flag(countSchema.default(128), {
    group: 'Model',
    help: 'the vocabulary is padded up to a multiple of this',
  }),
  layernormEpsilon: flag(positive.default(1e-5), {
    group: 'Model',
    value: 'X',
    help: 'added to the variance in layer normalization',
  }),
  initMethodStd: flag(positive.default(0.02), {
    group: 'Model',
    value: 'X',
    help: 'standard deviation of the initial weights; 1/√(2·layers) of it before residual additions',
  }),
  attentionDropout: flag(dropoutSchema.default(0.1), {
    group: 'Model',
    value: 'P',
    help: 'probability of dropping an attention weight',
  }),
  hiddenDropout: flag(dropoutSchema.default(0.1), {
    group: 'Model',
    value: 'P',
    help: 'probability of dropping an element of embeddings and of what is added to the residual stream',
  }),
  openaiGelu: flag(z.boolean().default(false), {
    group: 'Model',
    help: "GELU in its tanh form, as OpenAI's weights need it, instead of the exact one",
  }),
};

export const pretrainGptSchema = z.object({
  ...gptModelFlags,

  microBatchSize: flag(z.union([countSchema, z.literal('auto')]).default(4), {
    group: 'Training',
    help: 'samples computed at once; auto: as many as there is memory for',
  }),
  globalBatchSize: flag(countSchema.optional(), {
    group: 'Training',
    help: 'samples of one update; gradients of its micro-batches are accumulated',
    default: '--micro-batch-size on each data-parallel rank',
  }),
  trainIters: flag(countSchema.default(300_000), { group: 'Training', help: 'updates in all, also over several runs' }),
  weightDecay: flag(z.number().min(0).default(0.01), {
    group: 'Training',
    value: 'X',
    help: 'decoupled weight decay; none on biases and layer norms',
  }),
  clipGrad: flag(z.number().min(0).default(1), {
    group: 'Training',
    value: 'X',
    help: 'greatest norm of the whole gradient; 0 turns clipping off',
  }),
  adamBeta1: flag(z.number().min(0).lt(1).default(0.9), {
    group: 'Training',
    value: 'X',
    help: "decay of Adam's mean",
  }),
  adamBeta2: flag(z.number().min(0).lt(1).default(0.999), {
    group: 'Training',
    value: 'X',
    help: "decay of Adam's variance",
  }),
  adamEps: flag(positive.default(1e-8), {
    group: 'Training',
    value: 'X',
    help: "added to the root of Adam's variance",
  }),
  exitInterval: flag(countSchema.optional(), {
    group: 'Training',
    help: 'save and exit after an iteration that this divides',
  }),
  exitDurationInMins: flag(positive.optional(), {
    group: 'Training',
    value: 'MINUTES',
    help: 'save and exit after this time',
  }),

  ...formatFlags,
  ...lossScaleFlags,

  tensorModelParallelSize: flag(countSchema.default(1), {
    group: 'Parallelism',
    help: 'ranks that share every layer of the model; the others see other data',
  }),
  nprocPerNode: flag(countSchema.default(1), {
    group: 'Parallelism',
    help: 'ranks to start on this machine, as threads of one process; under mpirun or srun every process is a rank',
  }),
  debugCollectives: flag(z.boolean().default(false), {
    group: 'Parallelism',
    help: 'check that all ranks agree on every collective; slower',
  }),

  ...recomputeFlags,
  memoryLimit: flag(z.string().optional(), {
    group: 'Memory',
    value: 'SIZE',
    help: 'memory that the run may take on each machine (or each GPU), all its ranks there together, as 12GiB or 12GB; for --micro-batch-size auto',
    default: 'what is available when the run begins',
  }),

  lr: flag(positive.default(1.5e-4), { group: 'Learning rate', value: 'X', help: 'highest learning rate' }),
  minLr: flag(z.number().min(0).optional(), {
    group: 'Learning rate',
    value: 'X',
    help: 'lowest learning rate after the warm-up',
    default: `${defaultMinLr}, or --lr where that is lower`,
  }),
  lrDecayStyle: flag(z.enum(lrDecayStyles).default('cosine'), {
    group: 'Learning rate',
    value: 'STYLE',
    help: 'how the learning rate falls after the warm-up',
  }),
  lrDecayIters: flag(countSchema.optional(), {
    group: 'Learning rate',
    help: 'iterations until the lowest learning rate, warm-up included',
    default: '--train-iters',
  }),
  lrWarmupIters: flag(z.int().min(0).optional(), {
    group: 'Learning rate',
    help: 'iterations of linear warm-up from 0',
    default: `by --lr-warmup-fraction`,
  }),
  lrWarmupFraction: flag(z.number().min(0).lt(1).optional(), {
    group: 'Learning rate',
    value: 'X',
    help: 'warm-up as a share of --lr-decay-iters',
    default: String(defaultWarmupFraction),
  }),
  lrWsdDecayIters: flag(countSchema.optional(), {
    group: 'Learning rate',
    help: 'iterations of the last phase of WSD (warm-up, stable, decay)',
  }),
  lrWsdDecayStyle: flag(z.enum(wsdDecayStyles).default('exponential'), {
    group: 'Learning rate',
    value: 'STYLE',
    help: 'how the learning rate falls in that phase',
  }),

  dataPath: flag(z.array(z.string().min(1)).min(1).readonly().optional(), {
    group: 'Data',
    value: 'PREFIX',
    help: 'data sets made by megatron preprocess, without .bin/.idx; a blend is WEIGHT PREFIX WEIGHT PREFIX …',
  }),
  mockData: flag(z.boolean().default(false), {
    group: 'Data',
    help: 'train on made-up, learnable tokens instead of files',
  }),
  split: flag(z.string().min(1).default('969, 30, 1'), {
    group: 'Data',
    value: 'W,W,W',
    help: 'weights of the documents for training, validation and test',
  }),
  dataCachePath: flag(pathSchema.optional(), {
    group: 'Data',
    value: 'DIR',
    help: 'folder for sample indices',
    default: 'beside the data',
  }),
  resetPositionIds: flag(z.boolean().default(false), {
    group: 'Data',
    help: 'positions begin again after an end-of-document token',
  }),
  resetAttentionMask: flag(z.boolean().default(false), {
    group: 'Data',
    help: 'tokens do not attend to documents before their own',
  }),
  eodMaskLoss: flag(z.boolean().default(false), {
    group: 'Data',
    help: 'end-of-document tokens do not count as inputs in the loss',
  }),

  ...tokenizerFlags,
  vocabSize: flag(z.int().min(2).optional(), {
    group: 'Tokenizer',
    help: 'number of token ids, for data without a tokenizer',
    default: "the tokenizer's",
  }),

  evalInterval: flag(countSchema.default(1000), { group: 'Evaluation', help: 'iterations between two validations' }),
  evalIters: flag(z.int().min(0).default(100), {
    group: 'Evaluation',
    help: 'global batches of one validation; 0 turns it off',
  }),

  save: flag(pathSchema.optional(), {
    group: 'Output',
    value: 'DIR',
    help: 'folder for checkpoints and metrics.jsonl',
  }),
  load: flag(pathSchema.optional(), {
    group: 'Output',
    value: 'DIR',
    help: 'go on from the latest checkpoint in this folder',
  }),
  saveInterval: flag(countSchema.default(1000), { group: 'Output', help: 'iterations between two checkpoints' }),
  saveRetain: flag(countSchema.optional(), {
    group: 'Output',
    help: 'keep only this many latest checkpoints',
    default: 'all',
  }),
  logInterval: flag(countSchema.default(100), { group: 'Output', help: 'iterations between two log lines' }),
  tensorboardDir: flag(pathSchema.optional(), {
    group: 'Output',
    value: 'DIR',
    help: 'folder for TensorBoard event files',
  }),

  ...profileFlags,

  seed: seedFlag,
  ...engineFlags,
  debug: debugFlag,
});
