/** `megatron pretrain gpt`: what follows from its options, and which of them contradict each other. */

import type { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { parseBytes } from '../base/format.ts';
import { parseDataPath } from '../data/gpt/blend.ts';
import { parseSplit } from '../data/gpt/split.ts';
import { defineCommand, type Given } from './command.ts';
import { checkPrecision } from './precision.ts';
import { defaultMinLr, defaultWarmupFraction, pretrainGptSchema } from './pretrain-gpt-options.ts';
import { checkProfile } from './profile-flags.ts';
import { checkRecomputation } from './recompute-flags.ts';
import { threadsOrAll, tokenizerFlags, tokenizerSource } from './shared-flags.ts';

type Options = z.output<typeof pretrainGptSchema>;

/** What follows from other options when it is not given. */
interface Derived {
  readonly maxPositionEmbeddings: number;
  readonly globalBatchSize: number;
  readonly minLr: number;
  readonly lrDecayIters: number;
  /** From `--lr-warmup-iters` or `--lr-warmup-fraction`. */
  readonly lrWarmupIters: number;
  readonly numThreads: number;
  /** Bytes. */
  readonly memoryLimit?: number | undefined;
}

/** Everything a run needs to know: all defaults filled in, all options checked against each other. */
export type PretrainGptConfig = Readonly<Omit<Options, keyof Derived | 'lrWarmupFraction'> & Derived>;

/** The same once the micro-batch size is chosen. */
export type SizedGptConfig = PretrainGptConfig & { readonly microBatchSize: number };

export const isSized = (config: PretrainGptConfig): config is SizedGptConfig => config.microBatchSize !== 'auto';

export const pretrainGptCommand = defineCommand({
  name: 'pretrain gpt',
  summary: 'train a GPT-2-style language model',
  examples: [
    'pretrain gpt --config configs/gpt2-355m.yaml --data-path P_text_document --save checkpoints',
    'pretrain gpt --mock-data --num-layers 2 --hidden-size 128 --num-attention-heads 4 --seq-length 64 --train-iters 200',
  ],
  schema: pretrainGptSchema,
  resolve(options: Options, given: Given): PretrainGptConfig {
    const { lrWarmupFraction, ...kept } = options;
    const lrDecayIters = options.lrDecayIters ?? options.trainIters;
    const config: PretrainGptConfig = {
      ...kept,
      maxPositionEmbeddings: options.maxPositionEmbeddings ?? options.seqLength,
      globalBatchSize: options.globalBatchSize ?? defaultGlobalBatchSize(options, options.nprocPerNode),
      minLr: options.minLr ?? Math.min(defaultMinLr, options.lr),
      lrDecayIters,
      lrWarmupIters: options.lrWarmupIters ?? Math.floor((lrWarmupFraction ?? defaultWarmupFraction) * lrDecayIters),
      memoryLimit: memoryLimitOf(options),
      numThreads: options.numThreads ?? Math.max(1, Math.floor(threadsOrAll(undefined) / options.nprocPerNode)),
    };
    checkModel(config);
    checkPrecision(config, given);
    checkParallelism(config);
    checkRecomputation(config, given);
    checkSchedule(config, lrWarmupFraction, given);
    checkData(config, given);
    checkOutput(config, given);
    checkProfile(config);
    return config;
  },
});

function refuse(message: string, remedy: string): never {
  throw new UsageError(message, { remedy });
}

function checkModel(config: PretrainGptConfig): void {
  const { hiddenSize, numAttentionHeads, seqLength, maxPositionEmbeddings, microBatchSize, globalBatchSize } = config;
  if (hiddenSize % numAttentionHeads !== 0) {
    const nearest = Math.max(1, Math.round(hiddenSize / numAttentionHeads)) * numAttentionHeads;
    refuse(
      `--hidden-size ${hiddenSize} cannot be shared equally by --num-attention-heads ${numAttentionHeads}`,
      `Choose a multiple, for example --hidden-size ${nearest}.`,
    );
  }
  if (seqLength > maxPositionEmbeddings) {
    refuse(
      `--seq-length ${seqLength} is longer than --max-position-embeddings ${maxPositionEmbeddings}`,
      `Write --max-position-embeddings ${seqLength}, or leave it out.`,
    );
  }
  if (microBatchSize !== 'auto' && globalBatchSize % microBatchSize !== 0) {
    const nearest = Math.max(1, Math.round(globalBatchSize / microBatchSize)) * microBatchSize;
    refuse(
      `--global-batch-size ${globalBatchSize} is no multiple of --micro-batch-size ${microBatchSize}`,
      `Choose a multiple, for example --global-batch-size ${nearest}.`,
    );
  }
}

/** Ranks that see different data. */
export const dataParallelSize = (options: Pick<Options, 'tensorModelParallelSize'>, ranks: number): number =>
  Math.max(1, Math.floor(ranks / options.tensorModelParallelSize));

/**
 * Megatron's rule: one micro-batch on each data-parallel rank.
 *
 * @param ranks all ranks of the run
 * @throws UsageError where the micro-batch size is not known yet: what a run learns must not depend on the memory of a machine.
 */
export function defaultGlobalBatchSize(options: Options | PretrainGptConfig, ranks: number): number {
  const { microBatchSize } = options;
  if (microBatchSize !== 'auto') return microBatchSize * dataParallelSize(options, ranks);
  return refuse(
    '--micro-batch-size auto needs --global-batch-size, so that memory does not decide how many samples an update sees',
    'Add --global-batch-size N.',
  );
}

function memoryLimitOf({ memoryLimit, microBatchSize }: Options): number | undefined {
  if (memoryLimit === undefined) return undefined;
  if (microBatchSize !== 'auto') {
    refuse('--memory-limit has no effect without --micro-batch-size auto', 'Add that, or remove --memory-limit.');
  }
  const bytes = parseBytes(memoryLimit);
  return bytes !== undefined && bytes >= 2 ** 20 // less is a unit that was forgotten
    ? bytes
    : refuse(`--memory-limit "${memoryLimit}" is no size`, 'Write it as 12GiB, 12GB or 500MiB.');
}

function checkParallelism(config: PretrainGptConfig): void {
  const { tensorModelParallelSize: t, nprocPerNode, numAttentionHeads, hiddenSize } = config;
  // under mpirun the number of ranks is known only when they have started
  if (nprocPerNode > 1 && nprocPerNode % t !== 0) {
    refuse(
      `--nproc-per-node ${nprocPerNode} is no multiple of --tensor-model-parallel-size ${t}`,
      `Start ${Math.max(1, Math.round(nprocPerNode / t)) * t} ranks, or choose a size that divides ${nprocPerNode}.`,
    );
  }
  const nearest = (size: number): number => Math.max(1, Math.round(size / t)) * t;
  if (numAttentionHeads % t !== 0) {
    refuse(
      `--num-attention-heads ${numAttentionHeads} cannot be split over --tensor-model-parallel-size ${t}`,
      `Choose a multiple of ${t}, for example --num-attention-heads ${nearest(numAttentionHeads)}.`,
    );
  }
  if ((4 * hiddenSize) % t !== 0) {
    refuse(
      `the feed-forward width ${4 * hiddenSize} cannot be split over --tensor-model-parallel-size ${t}`,
      `Choose a multiple of ${t}, for example --hidden-size ${nearest(hiddenSize)}.`,
    );
  }
}

function checkSchedule(config: PretrainGptConfig, fraction: number | undefined, given: Given): void {
  const { lr, minLr, lrDecayIters, lrWarmupIters, lrDecayStyle, lrWsdDecayIters } = config;
  if (fraction !== undefined && given.has('lrWarmupIters') && lrWarmupIters > 0) {
    refuse(
      '--lr-warmup-iters and --lr-warmup-fraction contradict each other',
      'Keep one of the two; where a configuration file sets the iterations, --lr-warmup-iters 0 undoes it.',
    );
  }
  if (minLr > lr) refuse(`--min-lr ${minLr} is above --lr ${lr}`, `Write --min-lr ${lr} or less.`);
  if (lrWarmupIters > 0 && lrWarmupIters >= lrDecayIters) {
    refuse(
      `the warm-up of ${lrWarmupIters} iterations leaves nothing of the ${lrDecayIters} of --lr-decay-iters`,
      'Shorten --lr-warmup-iters, or train longer.',
    );
  }
  if (lrDecayStyle === 'WSD') {
    if (lrWsdDecayIters === undefined) {
      refuse(
        '--lr-decay-style WSD needs --lr-wsd-decay-iters',
        'Add --lr-wsd-decay-iters N, for example a tenth of the run.',
      );
    }
    if (lrWsdDecayIters + lrWarmupIters > lrDecayIters) {
      refuse(
        `warm-up (${lrWarmupIters}) and --lr-wsd-decay-iters ${lrWsdDecayIters} are longer than the ${lrDecayIters} iterations of --lr-decay-iters`,
        'Shorten one of them.',
      );
    }
  } else if (lrWsdDecayIters !== undefined || given.has('lrWsdDecayStyle')) {
    refuse(
      `--lr-wsd-decay-… has no effect with --lr-decay-style ${lrDecayStyle}`,
      'Remove it, or choose --lr-decay-style WSD.',
    );
  }
}

function checkData(config: PretrainGptConfig, given: Given): void {
  const { dataPath, mockData, split, vocabSize } = config;
  if (dataPath === undefined && !mockData) {
    refuse('there is no data to train on', 'Give --data-path PREFIX (see megatron preprocess --help), or --mock-data.');
  }
  if (dataPath !== undefined && mockData)
    refuse('--mock-data and --data-path contradict each other', 'Keep one of the two.');
  if (mockData && given.has('dataCachePath'))
    refuse('--data-cache-path has no effect with --mock-data', 'Remove it, or give --data-path PREFIX.');
  if (dataPath !== undefined) parseDataPath(dataPath);
  if (parseSplit(split).train === undefined) {
    refuse(
      `--split "${split}" leaves nothing to train on`,
      'Give the first weight a value, for example --split 969,30,1.',
    );
  }
  tokenizerSource(config);
  if (vocabSize === undefined) return;
  const tokenizerFlag = Object.keys(tokenizerFlags).find((key) => given.has(key));
  if (tokenizerFlag !== undefined) {
    refuse(
      '--vocab-size contradicts the tokenizer, which has a size of its own',
      'Remove --vocab-size or the tokenizer options.',
    );
  }
  if (!mockData && (config.resetPositionIds || config.resetAttentionMask || config.eodMaskLoss)) {
    refuse(
      '--reset-position-ids, --reset-attention-mask and --eod-mask-loss need the end-of-document token of a tokenizer',
      'Give the tokenizer options instead of --vocab-size.',
    );
  }
}

function checkOutput(config: PretrainGptConfig, given: Given): void {
  if (config.save !== undefined) return;
  for (const [key, name] of [
    ['saveInterval', '--save-interval'],
    ['saveRetain', '--save-retain'],
  ] as const) {
    if (given.has(key)) refuse(`${name} has no effect without --save`, 'Add --save DIR.');
  }
}
