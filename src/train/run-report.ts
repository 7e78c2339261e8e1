/** Turns the events of a training run into log lines, a live progress line, metrics.jsonl and TensorBoard files. */

import { join } from 'node:path';
import { formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { ProgressLine, type ProgressStream, progressText } from '../base/progress.ts';
import { memoryKinds } from '../tensor/allocator.ts';
import type { Engine } from '../tensor/engine.ts';
import type { ExitReason, LogRecord, LoopEvents, ValidationRecord } from './loop.ts';
import { formatMemoryLine, formatTrainingLine, formatValidationBlock, perplexity } from './report/log-lines.ts';
import { type IterationMetrics, MetricsFile } from './report/metrics-file.ts';
import { megatronScalars, TensorBoardWriter } from './report/tensorboard.ts';

export interface RunReportOptions {
  readonly engine: Engine;
  readonly trainIters: number;
  readonly globalBatchSize: number;
  readonly tokensPerSample: number;
  readonly modelFlopsPerToken: number;
  readonly palmFlopsPerToken: number;
  /** Where something is computed twice to save memory. */
  readonly hardwareFlopsPerToken?: number;
  /** The iteration the run goes on from; 0 for a new run. */
  readonly startIteration: number;
  /** Folder for metrics.jsonl. */
  readonly save?: string | undefined;
  readonly tensorboardDir?: string | undefined;
  /** Where log lines go. */
  readonly stdout: ProgressStream;
  /** Where the live line goes. */
  readonly stderr: ProgressStream;
  /** Megatron's log lines; false leaves the live line alone. Default true. */
  readonly logLines?: boolean;
}

export interface RunReport extends Disposable {
  readonly events: LoopEvents;
  /** A line above the live one. */
  note(line: string): void;
}

export function createRunReport(options: RunReportOptions): RunReport {
  const { engine, trainIters, globalBatchSize, tokensPerSample, startIteration } = options;
  using resources = new DisposableStack();
  const line = resources.use(new ProgressLine({ stream: options.stderr }));
  const metrics = options.save && resources.use(new MetricsFile(join(options.save, 'metrics.jsonl'), startIteration));
  const board =
    options.tensorboardDir &&
    resources.use(new TensorBoardWriter(options.tensorboardDir, { resumeIteration: startIteration }));
  const start = performance.now();
  const tokensPerStep = globalBatchSize * tokensPerSample;
  let lastLoss = Number.NaN;
  let memoryTold = false;

  const print = (text: string): void => {
    if (options.logLines === false) return;
    if (options.stdout.isTTY && line.isLive) line.log(text);
    else options.stdout.write(`${text}\n`);
  };

  const logged = (record: LogRecord): void => {
    print(trainingLine(record, options));
    if (memoryTold) return;
    memoryTold = true;
    const kinds = memoryKinds.map((kind) => [kind, engine.memory.count(kind).peak] as const);
    const bytes = {
      ...Object.fromEntries(kinds),
      'all at once': engine.memory.count().peak,
      reserved: engine.memory.held,
    };
    print(formatMemoryLine({ rank: 0, iteration: record.iteration, bytes }));
  };

  const events: LoopEvents = {
    stepped: ({ iteration, loss }) => {
      lastLoss = loss;
      line.update(() =>
        progressText({
          label: 'training',
          done: iteration,
          total: trainIters,
          startedAt: startIteration,
          elapsedMs: performance.now() - start,
          format: (steps) => `${formatCount(steps)} steps`,
          details: [
            `loss ${loss.toFixed(4)}`,
            `${formatCount(((iteration - startIteration) * tokensPerStep * 1000) / (performance.now() - start))} tokens/s`,
          ],
        }),
      );
    },
    skipped: ({ iteration, lossScale, nextScale }) =>
      line.log(
        `iteration ${iteration} is skipped: gradients overflowed at loss scale ${lossScale}; the next is ${nextScale}`,
      ),
    logged,
    validating: (done, total) =>
      line.update(() => `validating ${done} of ${total} batches · loss ${lastLoss.toFixed(4)}`),
    validated: (record) => print(validationBlock(record)),
    recorded: (record, validation) => {
      const entry = metricsOf(record, validation, options);
      if (metrics) metrics.append(entry);
      if (board) board.scalars(record.iteration, megatronScalars(entry));
    },
    // a checkpoint must never be ahead of its metrics, whatever the power does
    saving: () => {
      if (metrics) metrics.flush();
    },
    saved: ({ iteration, folder, warnings }) => {
      for (const warning of warnings) line.log(`warning: ${warning}`);
      line.log(`saved iteration ${iteration} in ${folder}`);
    },
  };
  const owned = resources.move();
  return {
    events,
    note: (text) => line.log(text),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

const tokensPerSecond = (record: LogRecord, options: RunReportOptions): number =>
  (options.globalBatchSize * options.tokensPerSample * 1000) / record.elapsedMs;

function trainingLine(record: LogRecord, options: RunReportOptions): string {
  const { iteration, consumedSamples, elapsedMs, learningRate, loss, gradNorm, lossScale, skippedIterations } = record;
  const { trainIters, globalBatchSize, modelFlopsPerToken, palmFlopsPerToken, hardwareFlopsPerToken } = options;
  return formatTrainingLine({
    time: new Date(),
    ...{ iteration, trainIters, consumedSamples, learningRate, globalBatchSize, lossScale, skippedIterations },
    // what skipped iterations do not have is left out, as Megatron does
    ...(Number.isNaN(gradNorm) ? {} : { gradNorm }),
    ...{ modelFlopsPerToken, palmFlopsPerToken, hardwareFlopsPerToken },
    elapsedMsPerIteration: elapsedMs,
    tokensPerSecond: tokensPerSecond(record, options),
    losses: Number.isNaN(loss) ? {} : { 'lm loss': loss },
    nanIterations: 0,
  });
}

function validationBlock({ iteration, split, loss }: ValidationRecord): string {
  const at = split === 'test' ? 'the end of training for test data' : `iteration ${iteration}`;
  return formatValidationBlock(at, { 'lm loss': loss });
}

function metricsOf(
  record: LogRecord,
  validation: ValidationRecord | undefined,
  options: RunReportOptions,
): IterationMetrics {
  const rate = tokensPerSecond(record, options);
  return {
    iteration: record.iteration,
    consumedTokens: record.consumedSamples * options.tokensPerSample,
    lmLoss: record.loss,
    learningRate: record.learningRate,
    gradNorm: record.gradNorm,
    lossScale: record.lossScale,
    skippedIterations: record.skippedIterations,
    elapsedMs: record.elapsedMs,
    tokensPerSecond: rate,
    modelTflops: (rate * options.modelFlopsPerToken) / 1e12,
    memoryBytes: options.engine.memory.count().peak,
    ...(validation ? { validLoss: validation.loss, validPpl: perplexity(validation.loss) } : {}),
  };
}

/** The words with which a run ends. */
export function closingWords(
  reason: ExitReason,
  iteration: number,
  startedAt: number,
  folder: string | undefined,
  engine: Engine,
): string {
  const time = formatDuration(performance.now() - startedAt);
  const memory = `peak memory ${formatBytes(engine.memory.count().peak, { binary: true })}`;
  if (reason === 'finished') return `training finished: iteration ${iteration}, ${time}, ${memory}`;
  const goOn = folder
    ? `Everything is saved; the same command with --load ${folder} goes on.`
    : 'Nothing was saved: there is no --save.';
  return `stopped (${reason}) after iteration ${iteration}, ${time}, ${memory}. ${goOn}`;
}
