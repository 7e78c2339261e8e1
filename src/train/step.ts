/** One update of the weights: forward and backward over all micro-batches, clipping, AdamW. */

import { MegatronError, UsageError } from '../base/errors.ts';
import type { AdamW } from '../optim/adamw.ts';
import { ClippedUpdate, type UpdateOptions } from '../optim/clipped-update.ts';
import { sumOver } from '../parallel/scalars.ts';
import { type PhaseName, phase } from '../tensor/observer.ts';
import { type MicroBatch, MicroBatches } from './micro-batches.ts';
import { RepeatedWork } from './repeated-work.ts';
import type { BatchStream, TrainTask } from './task.ts';

/** Long work that stops now and then, so that its caller may let the event loop run. */
export type Turns<Result> = Generator<void, Result>;

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

/** A step whose work has begun: on a device it goes on while the host does other things. */
export interface StepUnderWay {
  /**
   * Waits for the step's numbers; collective, once.
   *
   * @throws DivergenceError when the loss is infinite or NaN, or an unscaled gradient is. The weights are then as before that step,
   *   and no later one changes them.
   */
  settle(): StepResult;
}

export interface Update extends Omit<UpdateOptions, 'lossScale'> {
  /** Multiplies the loss; gradients that overflow are then the scale's fault, and no divergence. */
  readonly lossScale?: number | undefined;
}

/**
 * The steps of a run on one rank. On a GPU nothing waits on the way, and the passes of a micro-batch and the update are captured
 * once and started by a call each, where the forward step is a staged one and all collectives can be captured too.
 */
export class TrainingSteps<Batch> implements Disposable {
  /**
   * Whether a step may begin before the one before is settled; the same on all ranks. Not where all is done when `begin` returns, as
   * on the CPU and where ranks go through the host; and not with a loss scale, which follows from the step before, as does the
   * learning rate where that was skipped.
   */
  readonly mayOverlap: boolean;
  readonly #task: TrainTask<Batch>;
  readonly #scaled: boolean;
  readonly #work: RepeatedWork;
  readonly #microBatches: MicroBatches<Batch>;
  readonly #update: ClippedUpdate;
  /** Ends all steps. */
  #divergence: DivergenceError | undefined;

  /**
   * Collective over all ranks.
   *
   * @param scaled whether every update has a loss scale; else none has
   * @throws UsageError where ranks compute on other engines.
   */
  constructor(task: TrainTask<Batch>, optimizer: AdamW, scaled: boolean) {
    const { engine, parameters, grid } = task;
    this.#task = task;
    this.#scaled = scaled;
    const { captures, overlaps } = agree(task);
    this.mayOverlap = overlaps && !scaled;
    this.#work = new RepeatedWork(engine, captures);
    this.#microBatches = new MicroBatches(task, this.#work);
    this.#update = new ClippedUpdate(parameters, optimizer, grid, !scaled);
  }

  /** Begins a step in one go. Collective. @throws DivergenceError where one before has diverged. */
  begin(stream: BatchStream<Batch>, microBatches: number, update: Update): StepUnderWay {
    const work = this.beginInTurns(stream, microBatches, update);
    for (let turn = work.next(); ; turn = work.next()) if (turn.done) return turn.value;
  }

  /** The same in turns, one after every micro-batch. */
  *beginInTurns(stream: BatchStream<Batch>, microBatches: number, update: Update): Turns<StepUnderWay> {
    if (this.#divergence) throw this.#divergence;
    const { lossScale = 1 } = update;
    const { engine, parameters, grid } = this.#task;
    const watched = <Result>(name: PhaseName, body: () => Result): Result => phase(engine.observer, name, body);
    const batches = watched('data', () =>
      this.#microBatches.prepare(Array.from({ length: microBatches }, () => stream.next())),
    );
    watched('clear gradients', () => parameters.clearGradients());
    // the divisor is known before the first backward pass, so the mean does not depend on how the batch is cut
    const terms = this.#agreeOn(batches);
    this.#microBatches.beginStep(lossScale / terms);
    const losses: (() => number)[] = [];
    for (const [index, batch] of batches.entries()) {
      losses.push(this.#microBatches.run(batch, index === batches.length - 1));
      yield;
    }
    this.#update.prepare({ ...update, lossScale });
    this.#work.run('update', () => this.#update.run(this.#microBatches.lossSum));
    const readNorm = this.#update.normLater();
    return {
      settle: () => {
        const total = sumOver(
          grid.data,
          losses.reduce((sum, read) => sum + read(), 0),
        );
        // the update was not done where float32 could not hold the sum
        return this.#judge((Number.isFinite(Math.fround(total)) ? total : Math.fround(total)) / terms, readNorm());
      },
    };
  }

  /** The loss sum of a batch, dropout off. */
  evaluate(batch: Batch): number {
    return this.#microBatches.evaluate(batch);
  }

  /** @returns the loss terms of the global batch. What one data rank cannot begin as it was captured, none does. */
  #agreeOn(batches: readonly MicroBatch<Batch>[]): number {
    const { grid, countTerms } = this.#task;
    const own = batches.reduce((sum, { batch }) => sum + countTerms(batch), 0);
    const alike = this.#microBatches.areAlike(batches);
    if (!(grid.data.size === 1 ? [alike] : grid.data.exchange(alike)).every(Boolean)) this.#work.stopCapturing();
    return Math.max(1, sumOver(grid.data, own));
  }

  /** All ranks know the same norm, so all come to the same result. */
  #judge(loss: number, gradNorm: number): StepResult {
    const overflowed = !Number.isFinite(gradNorm);
    const diverged = !Number.isFinite(loss) || (overflowed && !this.#scaled);
    if (overflowed || diverged || this.#divergence) this.#update.uncount(); // it was not done
    if (diverged) {
      this.#divergence ??= new DivergenceError(`training diverged: loss ${loss}, gradient norm ${gradNorm}`, {
        remedy: `Go on from the last checkpoint with a lower --lr, a longer warm-up or a smaller --clip-grad${rangeAdvice(this.#task)}.`,
      });
    }
    if (this.#divergence) throw this.#divergence;
    return { loss, gradNorm, overflowed };
  }

  [Symbol.dispose](): void {
    for (const part of [this.#microBatches, this.#update, this.#work]) part[Symbol.dispose]();
  }
}

/**
 * What all ranks do alike, since a rank that did otherwise would wait for the others for ever: what one of them begins by itself the
 * others must not have in a graph, and none may begin a step before the others have settled the one before.
 *
 * @throws UsageError where ranks compute on other engines.
 */
function agree<Batch>({ engine, grid, forwardStep }: TrainTask<Batch>): { captures: boolean; overlaps: boolean } {
  const groups = [grid.tensor, grid.data].filter(({ size }) => size > 1);
  const ofAll = <Value>(value: Value): Value[] => (grid.world.size === 1 ? [value] : grid.world.exchange(value));
  const other = ofAll(engine.name).find((name) => name !== engine.name);
  if (other !== undefined) {
    throw new UsageError(`one rank computes on ${engine.name}, another on ${other}`, {
      remedy: 'Give all ranks the same --device.',
    });
  }
  for (const group of groups) group.prepare(engine);
  const canCapture = typeof forwardStep !== 'function' && engine.backend.capture !== undefined;
  const ranks = ofAll({
    captures: canCapture && groups.every(({ capturable }) => capturable),
    overlaps: engine.backend.goesOn && groups.every(({ deviceWay }) => deviceWay !== 'host'),
  });
  return { captures: ranks.every(({ captures }) => captures), overlaps: ranks.every(({ overlaps }) => overlaps) };
}

/**
 * One update in one go, or none where scaled gradients overflowed. For more than a few make `TrainingSteps`, which keep what they
 * need.
 *
 * @throws DivergenceError as `StepUnderWay.settle`.
 */
export function trainStep<Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  optimizer: AdamW,
  update: Update,
): StepResult {
  using steps = new TrainingSteps(task, optimizer, update.lossScale !== undefined);
  return steps.begin(stream, microBatches, update).settle();
}

/** Where activations may have left the range of their format. */
const rangeAdvice = ({ parameters }: Pick<TrainTask<never>, 'parameters'>): string =>
  parameters.groups.some(({ copies }) => copies?.dtype === 'f16')
    ? '; or with --bf16, where activations may exceed 65,504'
    : '';

/** Mean loss over `microBatches` of every data-parallel rank's stream, dropout off; in turns. */
export function* evaluateInTurns<Batch>(
  task: TrainTask<Batch>,
  steps: TrainingSteps<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  onProgress?: (done: number, total: number) => void,
): Turns<number> {
  let total = 0;
  let terms = 0;
  for (let i = 0; i < microBatches; i++) {
    const batch = stream.next();
    terms += task.countTerms(batch);
    total += steps.evaluate(batch);
    onProgress?.(i + 1, microBatches);
    yield;
  }
  const { data } = task.grid;
  return sumOver(data, total) / Math.max(1, sumOver(data, terms));
}
