/** A `pretrain gpt` run so small that an iteration takes milliseconds, with dropout, accumulation and a learning-rate schedule. */

import { join } from 'node:path';
import { flagName } from '../../src/base/flag-name.ts';
import { parseCommandLine } from '../../src/config/command.ts';
import { pretrainGptCommand } from '../../src/config/pretrain-gpt.ts';
import type { ExitReason, LoopEvents } from '../../src/train/loop.ts';
import { pretrainGpt } from '../../src/train/pretrain-gpt.ts';
import { type IterationMetrics, readMetrics } from '../../src/train/report/metrics-file.ts';

/** Options by key; undefined leaves one out, true is a flag without a value, a list one with several. */
export type RunOptions = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

const tiny: RunOptions = {
  mockData: true,
  vocabSize: 67,
  numLayers: 2,
  hiddenSize: 16,
  numAttentionHeads: 2,
  seqLength: 16,
  makeVocabSizeDivisibleBy: 16,
  microBatchSize: 2,
  globalBatchSize: 4,
  trainIters: 20,
  lr: 0.01,
  evalIters: 0,
  logInterval: 1,
  numThreads: 1,
};

/** The words after `megatron`. */
export function tinyArguments(options: RunOptions = {}): string[] {
  const flags = Object.entries({ ...tiny, ...options }).flatMap(([key, value]) => {
    if (value === undefined || value === false) return [];
    const words = value === true ? [] : Array.isArray(value) ? value : [String(value)];
    return [`--${flagName(key)}`, ...words];
  });
  return ['pretrain', 'gpt', ...flags];
}

export interface TinyRun {
  readonly reason: ExitReason;
  readonly iteration: number;
  /** Of every iteration that this run did. */
  readonly losses: readonly number[];
  readonly stdout: string;
  readonly stderr: string;
}

/** The same run inside this process and thread. */
export async function runTiny(
  options: RunOptions = {},
  more: { readonly signal?: AbortSignal; readonly events?: LoopEvents } = {},
): Promise<TinyRun> {
  const line = parseCommandLine(pretrainGptCommand, tinyArguments(options).slice(2));
  if (line.help) throw new Error('no help was asked for');
  const output = { stdout: '', stderr: '' };
  const losses: number[] = [];
  const { reason, iteration } = await pretrainGpt(line.config, {
    stdout: { write: (text) => (output.stdout += text) },
    stderr: { write: (text) => (output.stderr += text) },
    ...(more.signal ? { signal: more.signal } : {}),
    events: {
      ...more.events,
      stepped: (step) => {
        losses.push(step.loss);
        more.events?.stepped?.(step);
      },
    },
  });
  return { reason, iteration, losses, ...output };
}

type LastingMetrics = Pick<
  IterationMetrics,
  'iteration' | 'consumedTokens' | 'lmLoss' | 'learningRate' | 'gradNorm' | 'validLoss'
>;

/** `metrics.jsonl` without what depends on when and where an iteration ran. */
export function metricsOf(folder: string): LastingMetrics[] {
  return readMetrics(join(folder, 'metrics.jsonl')).map(
    ({ iteration, consumedTokens, lmLoss, learningRate, gradNorm, validLoss }) => ({
      ...{ iteration, consumedTokens, lmLoss, learningRate, gradNorm },
      ...(validLoss === undefined ? {} : { validLoss }),
    }),
  );
}
