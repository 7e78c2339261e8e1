/** One update of the weights: forward and backward over all micro-batches, clipping, AdamW. */

import { Tape } from '../autograd/tape.ts';
import { MegatronError } from '../base/errors.ts';
import type { AdamW } from '../optim/adamw.ts';
import { clipFactor, gradientNorm } from '../optim/gradient-norm.ts';
import type { BatchStream, TrainTask } from './task.ts';

/** The loss or the gradient is no longer a number. */
export class DivergenceError extends MegatronError {}

export interface StepResult {
  /** Mean over all loss terms of the global batch, before the update. */
  readonly loss: number;
  /** Norm of the gradient before clipping. */
  readonly gradNorm: number;
}

/** Gradients of the mean loss over all terms of the micro-batches; they are added to the parameters' cleared gradients. */
export function accumulateGradients<Batch>(task: TrainTask<Batch>, batches: readonly Batch[]): number {
  // The divisor is known before the first backward pass, so the mean does not depend on how the batch is cut.
  const terms = batches.reduce((sum, batch) => sum + task.countTerms(batch), 0);
  let total = 0;
  for (const batch of batches) {
    total += task.engine.scope(() => {
      using tape = new Tape(task.engine);
      const loss = task.forwardStep(batch, true);
      tape.backward(loss, 1 / Math.max(1, terms));
      return loss.item();
    });
  }
  return total / Math.max(1, terms);
}

/** @throws DivergenceError when loss or gradient are infinite or NaN; the weights are then as before. */
export function trainStep<Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  optimizer: AdamW,
  update: { readonly learningRate: number; readonly clipGrad: number },
): StepResult {
  const batches = Array.from({ length: microBatches }, () => stream.next());
  task.parameters.clearGradients();
  const loss = accumulateGradients(task, batches);
  const gradNorm = gradientNorm(task.parameters);
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
    throw new DivergenceError(`training diverged: loss ${loss}, gradient norm ${gradNorm}`, {
      remedy: 'Go on from the last checkpoint with a lower --lr, a longer warm-up or a smaller --clip-grad.',
    });
  }
  optimizer.step(update.learningRate, clipFactor(gradNorm, update.clipGrad));
  return { loss, gradNorm };
}

/** Mean loss over `microBatches` of a stream, dropout off. */
export function evaluate<Batch>(
  task: TrainTask<Batch>,
  stream: BatchStream<Batch>,
  microBatches: number,
  onProgress?: (done: number, total: number) => void,
): number {
  let total = 0;
  let terms = 0;
  for (let i = 0; i < microBatches; i++) {
    const batch = stream.next();
    terms += task.countTerms(batch);
    total += task.engine.withoutRecording(() => task.engine.scope(() => task.forwardStep(batch, false).item()));
    onProgress?.(i + 1, microBatches);
  }
  return total / Math.max(1, terms);
}
