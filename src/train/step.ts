/** One update of the weights: forward and backward over all micro-batches, clipping, AdamW. */

import { Tape } from '../autograd/tape.ts';
import { MegatronError } from '../base/errors.ts';
import type { AdamW } from '../optim/adamw.ts';
import { clipFactor, gradientNormLater } from '../optim/gradient-norm.ts';
import { GradientReducer } from '../parallel/data-parallel.ts';
import { sumOver } from '../parallel/scalars.ts';
import { type PhaseName, phase } from '../tensor/observer.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { BatchStream, TrainTask } from './task.ts';

/** Long work that stops now and then, so that its caller may let the event loop run. */
export type Turns<Result> = Generator<void, Result>;

/** Does the work in one go. */
function finish<Result>(work: Turns<Result>): Result {
  for (let turn = work.next(); ; turn = work.next()) if (turn.done) return turn.value;
}

/** The loss or the gradient is no longer a number. */
export class DivergenceError extends MegatronError {}

export interface StepResult {
  /** Mean over all loss terms of the global batch, before the update. */
  readonly loss: number;
  /** Norm of the gradient before clipping, the loss scale divided out; infinite or NaN where `overflowed`. */
  readonly gradNorm: number;
  /** Whether a scaled gradient was infinite or NaN, on whichever rank; nothing was updated then. */
  readonly overflowed: boolean;
}

/**
 * Adds the gradients of `lossScale` times the mean loss over all terms of the global batch to the parameters' cleared gradients, summed over
 * the data-parallel ranks.
 *
 * @returns the mean loss, the same on every rank
 */
export const accumulateGradients = <Batch>(
  task: TrainTask<Batch>,
  batches: readonly Batch[],
  reducer?: GradientReducer,
  lossScale = 1,
): number => withReducer(task, reducer, (sums) => finish(accumulateInTurns(task, batches, sums, lossScale))());

/** One that is made for a single call must not outlive it: it holds views of the gradients. */
function withReducer<Result>(
  { parameters, grid }: Pick<TrainTask<never>, 'parameters' | 'grid'>,
  given: GradientReducer | undefined,
  body: (reducer: GradientReducer) => Result,
): Result {
  if (given) return body(given);
  using own = new GradientReducer(parameters, grid.data);
  return body(own);
}

/**
 * The same in turns: one after every micro-batch, so that the event loop can run between them.
 *
 * @returns reads the mean loss, when a device has it; collective.
 */
function* accumulateInTurns<Batch>(
  task: TrainTask<Batch>,
  batches: readonly Batch[],
  reducer: GradientReducer,
  lossScale: number,
): Turns<() => number> {
  const { data } = task.grid;
  const watched = phasesOf(task);
  // The divisor is known before the first backward pass, so the mean does not depend on how the batch is cut.
  const own = batches.reduce((sum, batch) => sum + task.countTerms(batch), 0);
  const terms = Math.max(1, sumOver(data, own));
  const losses: (() => number)[] = [];
  for (const [index, batch] of batches.entries()) {
    const isLast = index === batches.length - 1;
    task.engine.scope(() => {
      using tape = new Tape(task.engine);
      const loss = watched('forward', () => task.forwardStep(batch, true));
      if (isLast) reducer.begin();
      const onLeaf = isLast && reducer.isNeeded ? (leaf: Tensor) => reducer.leafReady(leaf) : undefined;
      watched('backward', () => tape.backward(loss, lossScale / terms, onLeaf));
      losses.push(loss.itemLater());
    });
    yield;
  }
  watched('reduce gradients', () => reducer.finish());
  return () => {
    const total = losses.reduce((sum, read) => sum + read(), 0);
    return sumOver(data, total) / terms;
  };
}

/** Runs a part of the step as one that can be watched. */
const phasesOf =
  ({ engine }: Pick<TrainTask<never>, 'engine'>) =>
  <Result>(name: PhaseName, body: () => Result): Result =>
    phase(engine.observer, name, body);

export interface Update {
  readonly learningRate: number;
  /** 0 for no clipping. */
  readonly clipGrad: number;
  /** Multiplies the loss; gradients that overflow are then the scale's fault, and no divergence. */
  readonly lossScale?: number | undefined;
}

/**
 * One update, or none where scaled gradients overflowed.
 *
 * @throws DivergenceError when the loss is infinite or NaN, or an unscaled gradient is; the weights are then as before.
 */
export const trainStep = <Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  optimizer: AdamW,
  update: Update,
  reducer?: GradientReducer,
): StepResult =>
  withReducer(task, reducer, (sums) => finish(trainStepInTurns(task, stream, microBatches, optimizer, update, sums)));

/** The same in turns, one after every micro-batch. */
export function* trainStepInTurns<Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  optimizer: AdamW,
  update: Update,
  reducer: GradientReducer,
): Turns<StepResult> {
  const { learningRate, clipGrad, lossScale = 1 } = update;
  const watched = phasesOf(task);
  const batches = watched('data', () => Array.from({ length: microBatches }, () => stream.next()));
  watched('clear gradients', () => task.parameters.clearGradients());
  const readLoss = yield* accumulateInTurns(task, batches, reducer, lossScale);
  // a device has all of the step's work but the update when it is first waited for
  const [gradNorm, loss] = watched('gradient norm', () => {
    const readNorm = gradientNormLater(task.parameters, task.grid.tensor);
    return [readNorm() / lossScale, readLoss()];
  });
  const overflowed = !Number.isFinite(gradNorm);
  if (!Number.isFinite(loss) || (overflowed && update.lossScale === undefined)) {
    throw new DivergenceError(`training diverged: loss ${loss}, gradient norm ${gradNorm}`, {
      remedy: `Go on from the last checkpoint with a lower --lr, a longer warm-up or a smaller --clip-grad${rangeAdvice(task)}.`,
    });
  }
  // all ranks know the same norm, so all skip or none does; what undoes the scale rides on the factor of clipping
  if (!overflowed) {
    watched('optimizer', () => optimizer.step(learningRate, clipFactor(gradNorm, clipGrad) / lossScale));
  }
  return { loss, gradNorm, overflowed };
}

/** Where activations may have left the range of their format. */
const rangeAdvice = ({ parameters }: Pick<TrainTask<never>, 'parameters'>): string =>
  parameters.groups.some(({ copies }) => copies?.dtype === 'f16')
    ? '; or with --bf16, where activations may exceed 65,504'
    : '';

/** Mean loss over `microBatches` of every data-parallel rank's stream, dropout off; in turns. */
export function* evaluateInTurns<Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  onProgress?: (done: number, total: number) => void,
): Turns<number> {
  let total = 0;
  let terms = 0;
  for (let i = 0; i < microBatches; i++) {
    const batch = stream.next();
    terms += task.countTerms(batch);
    total += task.engine.withoutRecording(() => task.engine.scope(() => task.forwardStep(batch, false).item()));
    onProgress?.(i + 1, microBatches);
    yield;
  }
  const { data } = task.grid;
  return sumOver(data, total) / Math.max(1, sumOver(data, terms));
}
