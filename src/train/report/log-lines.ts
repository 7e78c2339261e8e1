/** The lines of a training log, in Megatron-LM's own form, so that tools that read its logs read ours. */

import { formatExponent, formatFixed, formatTimestamp } from '../../base/format.ts';

export interface TrainingLogEntry {
  readonly time: Date;
  readonly iteration: number;
  readonly trainIters: number;
  readonly consumedSamples: number;
  /** Mean over the iterations since the last line. */
  readonly elapsedMsPerIteration: number;
  readonly tokensPerSecond: number;
  readonly modelFlopsPerToken: number;
  readonly palmFlopsPerToken: number;
  /** Where something is computed twice to save memory. */
  readonly hardwareFlopsPerToken?: number | undefined;
  readonly learningRate: number;
  readonly globalBatchSize: number;
  /** Means since the last line by name, `lm loss` first; skipped iterations do not count. */
  readonly losses: Readonly<Record<string, number>>;
  readonly lossScale: number;
  readonly gradNorm?: number;
  readonly skippedIterations: number;
  readonly nanIterations: number;
}

const padded = (value: number, width: number): string => String(value).padStart(width);

/** ` [2026-01-02 03:04:05] iteration      100/   1000 | consumed samples: … |`, with both FLOP conventions named. */
export function formatTrainingLine(entry: TrainingLogEntry): string {
  const teraflops = (perToken: number): string => formatFixed((perToken * entry.tokensPerSecond) / 1e12, 3);
  const parts = [
    ` [${formatTimestamp(entry.time)}] iteration ${padded(entry.iteration, 8)}/${padded(entry.trainIters, 8)}`,
    `consumed samples: ${padded(entry.consumedSamples, 12)}`,
    `elapsed time per iteration (ms): ${formatFixed(entry.elapsedMsPerIteration, 1)}`,
    `model TFLOP/s (causal matmul): ${teraflops(entry.modelFlopsPerToken)}`,
    `PaLM TFLOP/s (6N+12Lhs): ${teraflops(entry.palmFlopsPerToken)}`,
    ...(entry.hardwareFlopsPerToken === undefined
      ? []
      : [`hardware TFLOP/s (with recomputation): ${teraflops(entry.hardwareFlopsPerToken)}`]),
    `tokens/s: ${formatFixed(entry.tokensPerSecond, 1)}`,
    `learning rate: ${formatExponent(entry.learningRate)}`,
    `global batch size: ${padded(entry.globalBatchSize, 5)}`,
    ...Object.entries(entry.losses).map(([name, loss]) => `${name}: ${formatExponent(loss)}`),
    `loss scale: ${formatFixed(entry.lossScale, 1)}`,
  ];
  if (entry.gradNorm !== undefined) parts.push(`grad norm: ${formatFixed(entry.gradNorm, 3)}`);
  parts.push(`number of skipped iterations: ${padded(entry.skippedIterations, 3)}`);
  parts.push(`number of nan iterations: ${padded(entry.nanIterations, 3)}`);
  return `${parts.join(' | ')} |`;
}

/** Perplexity of a mean loss in nats: exp(min(20, loss)), as Megatron bounds it. */
export function perplexity(loss: number): number {
  return Math.exp(Math.min(20, loss));
}

/**
 * The block around an evaluation: a rule, ` validation loss at iteration 100 | lm loss value: … | lm loss PPL: … | `, a rule.
 *
 * @param at `iteration 100`, or `the end of training for test data`
 */
export function formatValidationBlock(at: string, losses: Readonly<Record<string, number>>): string {
  const values = Object.entries(losses).map(
    ([name, loss]) => `${name} value: ${formatExponent(loss)} | ${name} PPL: ${formatExponent(perplexity(loss))} | `,
  );
  const line = ` validation loss at ${at} | ${values.join('')}`;
  const rule = '-'.repeat(line.length + 1);
  return `${rule}\n${line}\n${rule}`;
}

/** The arguments of a run, sorted by name: `  hidden-size ..................... 768`. */
export function formatArguments(values: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(values)
    .sort(([first], [second]) => (first < second ? -1 : 1))
    .map(([name, value]) => `  ${name} ${'.'.repeat(Math.max(32 - name.length, 3))} ${argumentWords(value)}`);
  const dashes = (count: number): string => '-'.repeat(count);
  return [`${dashes(24)} arguments ${dashes(24)}`, ...lines, `${dashes(20)} end of arguments ${dashes(21)}`].join('\n');
}

function argumentWords(value: unknown): string {
  if (value === undefined) return 'not set';
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
}

/** `[Rank 0] (after 10 iterations) memory (MB) | allocated: … | max allocated: … | reserved: …`: once, after the first line of a run. */
export function formatMemoryLine(entry: {
  readonly rank: number;
  readonly iteration: number;
  readonly bytes: Readonly<Record<string, number>>;
}): string {
  const parts = Object.entries(entry.bytes).map(([name, bytes]) => `${name}: ${formatFixed(bytes / 2 ** 20, 1)}`);
  return `[Rank ${entry.rank}] (after ${entry.iteration} iterations) memory (MB) | ${parts.join(' | ')}`;
}
