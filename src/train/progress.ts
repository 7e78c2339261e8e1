/** How far a run is, what it logs next, and where its loss scale stands. */

import { type LossScaleState, type LossScaling, mostOverflowsAtFloor, nextLossScale } from '../optim/loss-scale.ts';
import { DivergenceError, type StepResult } from './step.ts';

/** Where a run stands; all of it goes into checkpoints. */
export interface Progress {
  /** Iterations done, skipped ones included. */
  iteration: number;
  consumedSamples: number;
  /** Iterations without an update, because scaled gradients overflowed; they do not move the learning rate on. */
  skippedIterations: number;
  /** Where the loss scale stands; undefined before the first iteration of a run that scales, and where none does. */
  lossScale: LossScaleState | undefined;
  /** Losses since the last line of `logInterval` or `evalInterval`, so that a resumed run logs the same means. */
  lossSum: number;
  lossCount: number;
  /** Skipped iterations since that line. */
  skippedCount: number;
}

/** Before the first iteration. */
export const newProgress = (): Progress => ({
  ...{ iteration: 0, consumedSamples: 0, skippedIterations: 0, lossScale: undefined },
  ...{ lossSum: 0, lossCount: 0, skippedCount: 0 },
});

/** An iteration that was skipped because gradients overflowed at a scale; the next one has another, or the same. */
export interface SkippedStep {
  readonly iteration: number;
  readonly lossScale: number;
  readonly nextScale: number;
}

/** A skipped iteration counts, but its loss belongs to no mean. */
export function countStep(progress: Progress, { loss, overflowed }: StepResult): void {
  if (overflowed) {
    progress.skippedIterations++;
    progress.skippedCount++;
  } else {
    progress.lossSum += loss;
    progress.lossCount++;
  }
}

/**
 * The scale of the next iteration.
 *
 * @param skipped told where the iteration was skipped
 * @throws DivergenceError when a lower scale is called for again and again, and there is none.
 */
export function rescale(
  progress: Progress,
  lossScaling: LossScaling | undefined,
  overflowed: boolean,
  skipped: ((step: SkippedStep) => void) | undefined,
): void {
  const before = progress.lossScale;
  if (!lossScaling || !before) return;
  const after = nextLossScale(lossScaling, before, overflowed);
  progress.lossScale = after;
  if (overflowed) skipped?.({ iteration: progress.iteration, lossScale: before.scale, nextScale: after.scale });
  if (after.stuck < mostOverflowsAtFloor) return;
  throw new DivergenceError(
    `training diverged: the gradients overflowed ${after.stuck} times in a row at the lowest loss scale, ${after.scale}`,
    {
      remedy:
        lossScaling.kind === 'constant'
          ? 'Go on from the last checkpoint with a smaller --loss-scale, without it (the scale then adapts), or with --bf16.'
          : 'Go on from the last checkpoint with a lower --lr, with a smaller --min-loss-scale, or with --bf16.',
    },
  );
}
