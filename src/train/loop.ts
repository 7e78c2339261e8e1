/** The training loop: updates, validation, checkpoints and orderly exits. */

import { setImmediate } from 'node:timers/promises';
import { UsageError } from '../base/errors.ts';
import type { AdamW } from '../optim/adamw.ts';
import { type LearningRateSchedule, learningRateAt } from '../optim/learning-rate.ts';
import { initialLossScale, type LossScaling } from '../optim/loss-scale.ts';
import type { RankGrid } from '../parallel/grid.ts';
import { agreedValue } from '../parallel/scalars.ts';
import { countStep, type Progress, rescale, type SkippedStep } from './progress.ts';
import { evaluateInTurns, type StepUnderWay, TrainingSteps, type Turns } from './step.ts';
import { type BatchSizes, type BatchStream, checkBatchSizes, microBatchesPerRank, type TrainTask } from './task.ts';

export interface LoopOptions extends BatchSizes, LearningRateSchedule {
  /** Updates in all, those of earlier runs included. */
  readonly trainIters: number;
  readonly clipGrad: number;
  /** Where not given, gradients that are no numbers end the run. */
  readonly lossScaling?: LossScaling | undefined;
  readonly logInterval: number;
  /** Iterations between validations; with `evalIters` 0 there are none. */
  readonly evalInterval: number;
  /** Global batches of one validation. */
  readonly evalIters: number;
  readonly saveInterval: number;
  readonly exitInterval?: number | undefined;
  readonly exitDurationInMins?: number | undefined;
  /** Asks for an orderly end: the iteration is finished and saved. An AbortSignal is one; rank 0's decides for all. */
  readonly signal?: StopSignal | undefined;
  /** Told on every rank where an iteration begins and ends. */
  readonly profiler?: StepProfiler | undefined;
}

/** Told of each iteration around its work; it may call collectives, since all ranks tell theirs. */
export interface StepProfiler {
  stepping(iteration: number): void;
  stepped(iteration: number): void;
}

/** Whether somebody asked the run to end. */
export interface StopSignal {
  readonly aborted: boolean;
}

export interface LogRecord {
  readonly iteration: number;
  readonly consumedSamples: number;
  /**
   * Mean since the last record that was due, without skipped iterations, NaN where all were skipped; the one at the end of a run
   * may come early, and begins no new mean.
   */
  readonly loss: number;
  readonly learningRate: number;
  /** NaN where the iteration was skipped. */
  readonly gradNorm: number;
  /** Of the next iteration, as Megatron logs it; 1 without scaling. */
  readonly lossScale: number;
  /** Skipped since the last record that was due. */
  readonly skippedIterations: number;
  /** Mean time of those iterations as far as this process ran them, validation and saving left out. */
  readonly elapsedMs: number;
}

export interface ValidationRecord {
  readonly iteration: number;
  readonly split: 'validation' | 'test';
  readonly loss: number;
}

export type ExitReason = 'finished' | 'signal' | 'exit interval' | 'exit duration';

/** What a run tells while it goes; all optional. */
export interface LoopEvents {
  /** After every iteration, also one that was skipped. */
  stepped?(step: { readonly iteration: number; readonly loss: number; readonly elapsedMs: number }): void;
  /** After an iteration that was skipped because gradients overflowed. */
  skipped?(step: SkippedStep): void;
  /** After every `logInterval` updates, before every validation and at the end. */
  logged?(record: LogRecord): void;
  validating?(done: number, total: number): void;
  validated?(record: ValidationRecord): void;
  /** At the end of an iteration that was logged or validated. */
  recorded?(log: LogRecord, validation: ValidationRecord | undefined): void;
  /** Just before a checkpoint is written. */
  saving?(): void;
  /** After a checkpoint is safe. */
  saved?(saved: { readonly iteration: number; readonly folder: string; readonly warnings: readonly string[] }): void;
}

/** What the loop asks of its caller. */
export interface LoopHooks extends LoopEvents {
  /** Called when it is time to save; must have saved when it returns. */
  save?(): void;
}

/** A step under way, and what it began with. */
interface BegunStep {
  readonly iteration: number;
  readonly start: number;
  readonly learningRate: number;
  /** Once it is done. */
  readonly consumedSamples: number;
  readonly step: StepUnderWay;
}

/**
 * A step under way has numbers to tell, which may be why the next one could not begin: its divergence is the error then. Among ranks
 * nobody knows whether the others would come along.
 */
function lastWords(begun: BegunStep | undefined, grid: RankGrid, error: unknown): never {
  if (grid.world.size === 1) begun?.step.settle();
  throw error;
}

/**
 * Trains until `trainIters` or an exit condition. The event loop turns after every iteration, so signals are heard.
 *
 * @param progress where to start; updated in place
 * @throws UsageError where the options do not fit each other; DivergenceError when the loss is no number, or gradients
 *   overflow again and again at the lowest loss scale.
 */
export async function trainLoop<Batch>(
  task: TrainTask<Batch>,
  optimizer: AdamW,
  progress: Progress,
  options: LoopOptions,
  hooks: LoopHooks = {},
): Promise<ExitReason> {
  const { grid } = task;
  checkOptions(options, grid);
  const microBatches = microBatchesPerRank(options, grid);
  const { trainIters, lossScaling, saveInterval, clipGrad, profiler } = options;
  using steps = new TrainingSteps(task, optimizer, lossScaling !== undefined);
  const evaluates = options.evalIters > 0;
  const isEvaluationDue = (iteration: number): boolean => evaluates && iteration % options.evalInterval === 0;
  const stream = task.trainBatches(progress.consumedSamples);
  const startedAt = performance.now();
  let settledAt = startedAt;
  let logTime = 0;
  let logSteps = 0;
  let savedAt = progress.iteration;
  const save = (): void => {
    if (savedAt === progress.iteration) return;
    hooks.save?.();
    savedAt = progress.iteration;
  };

  const begin = async (iteration: number): Promise<BegunStep> => {
    profiler?.stepping(iteration);
    const start = performance.now();
    const learningRate = learningRateAt(options, iteration - progress.skippedIterations);
    if (lossScaling) progress.lossScale ??= initialLossScale(lossScaling);
    const update = { learningRate, clipGrad, lossScale: progress.lossScale?.scale };
    const step = await inTurns(steps.beginInTurns(stream, microBatches, update));
    return { iteration, start, learningRate, consumedSamples: stream.consumedSamples, step };
  };

  const settle = async ({ iteration, start, learningRate, consumedSamples, step }: BegunStep): Promise<void> => {
    const result = step.settle();
    const { loss, overflowed, gradNorm } = result;
    Object.assign(progress, { iteration, consumedSamples });
    countStep(progress, result);
    rescale(progress, lossScaling, overflowed, hooks.skipped);
    const now = performance.now();
    const elapsedMs = now - Math.max(start, settledAt); // steps that overlap share no time
    settledAt = now;
    logTime += elapsedMs;
    logSteps++;
    profiler?.stepped(iteration);
    hooks.stepped?.({ iteration, loss, elapsedMs });

    const isLast = iteration === trainIters;
    const isLogDue = iteration % options.logInterval === 0 || isEvaluationDue(iteration);
    if (isLogDue || isLast) {
      const log: LogRecord = {
        ...{ iteration, consumedSamples, learningRate },
        gradNorm: overflowed ? Number.NaN : gradNorm,
        loss: progress.lossSum / progress.lossCount,
        lossScale: progress.lossScale?.scale ?? 1,
        skippedIterations: progress.skippedCount,
        elapsedMs: logTime / logSteps,
      };
      // a line that only the end of this run brings must not change the next one of a run that goes on
      if (isLogDue) {
        Object.assign(progress, { lossSum: 0, lossCount: 0, skippedCount: 0 });
        [logTime, logSteps] = [0, 0];
      }
      hooks.logged?.(log);
      const validation =
        isEvaluationDue(iteration) || (evaluates && isLast)
          ? await validate(task, steps, iteration, options, hooks)
          : undefined;
      hooks.recorded?.(log, validation);
    }
    if (iteration % saveInterval === 0) save();
  };

  /** Whether the weights of this iteration are needed as they are, before the next one changes them. */
  const isStation = (iteration: number): boolean =>
    iteration === trainIters || iteration % saveInterval === 0 || isEvaluationDue(iteration);
  // whoever profiles wants each step by itself
  const overlaps = steps.mayOverlap && profiler === undefined;
  let begun: BegunStep | undefined;
  for (let iteration = progress.iteration + 1; iteration <= trainIters; iteration++) {
    const next = await begin(iteration).catch((error: unknown) => lastWords(begun, grid, error));
    if (begun) await settle(begun); // a device has the next step's work by now, and need not wait for us
    begun = next;
    if (!overlaps || isStation(iteration)) {
      await settle(begun);
      begun = undefined;
    }

    // a signal that came meanwhile is heard here; one turn alone may fall between two polls
    await setImmediate();
    await setImmediate();
    // one rank decides for all, or they would stop at different iterations
    const reason = agreedValue(grid.world, 0, exitReason(options, iteration, startedAt) ?? null);
    if (reason) {
      if (begun) await settle(begun);
      save();
      return reason;
    }
  }
  save();
  await testAtEnd(task, steps, progress.iteration, options, hooks);
  return 'finished';
}

/** Does the work, and lets the event loop run after every turn. */
async function inTurns<Result>(work: Turns<Result>): Promise<Result> {
  for (let turn = work.next(); ; turn = work.next()) {
    if (turn.done) return turn.value;
    await setImmediate();
  }
}

/** The k-th validation reads the k-th stretch of the validation data, so its position needs no saving. */
async function validate<Batch>(
  task: TrainTask<Batch>,
  steps: TrainingSteps<Batch>,
  iteration: number,
  options: LoopOptions,
  events: LoopEvents,
): Promise<ValidationRecord | undefined> {
  const { evalIters, evalInterval, globalBatchSize } = options;
  const before = Math.ceil(iteration / evalInterval) - 1;
  const stream = task.validationBatches(before * evalIters * globalBatchSize);
  if (!stream) return undefined;
  const loss = await evaluateAll(task, steps, stream, options, events);
  const record: ValidationRecord = { iteration, split: 'validation', loss };
  events.validated?.(record);
  return record;
}

async function testAtEnd<Batch>(
  task: TrainTask<Batch>,
  steps: TrainingSteps<Batch>,
  iteration: number,
  options: LoopOptions,
  events: LoopEvents,
): Promise<void> {
  const stream = options.evalIters > 0 ? task.testBatches() : undefined;
  if (!stream) return;
  const loss = await evaluateAll(task, steps, stream, options, events);
  events.validated?.({ iteration, split: 'test', loss });
}

function evaluateAll<Batch>(
  task: TrainTask<Batch>,
  steps: TrainingSteps<Batch>,
  stream: BatchStream<Batch>,
  options: LoopOptions,
  events: LoopEvents,
): Promise<number> {
  const microBatches = options.evalIters * microBatchesPerRank(options, task.grid);
  return inTurns(evaluateInTurns(task, steps, stream, microBatches, (done, total) => events.validating?.(done, total)));
}

function exitReason(options: LoopOptions, iteration: number, begin: number): ExitReason | undefined {
  const { signal, exitInterval, exitDurationInMins } = options;
  if (signal?.aborted) return 'signal';
  if (iteration === options.trainIters) return undefined;
  if (exitInterval !== undefined && iteration % exitInterval === 0) return 'exit interval';
  if (exitDurationInMins !== undefined && performance.now() - begin > exitDurationInMins * 60_000)
    return 'exit duration';
  return undefined;
}

function checkOptions(options: LoopOptions, grid: RankGrid): void {
  const { microBatchSize, globalBatchSize, trainIters, logInterval, evalInterval, saveInterval } = options;
  const counts = { microBatchSize, globalBatchSize, trainIters, logInterval, evalInterval, saveInterval };
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new UsageError(`${name} must be a whole number of one or more, not ${value}`);
    }
  }
  checkBatchSizes(options, grid);
}
