/** Forward and backward passes of a step, one micro-batch after another. */

import { Tape } from '../autograd/tape.ts';
import { GradientReducer } from '../parallel/data-parallel.ts';
import { accumulate } from '../tensor/accumulate.ts';
import { type PhaseName, phase } from '../tensor/observer.ts';
import { Tensor } from '../tensor/tensor.ts';
import { BatchInputs, layoutOf, type Numbers } from './batch-inputs.ts';
import type { RepeatedWork } from './repeated-work.ts';
import { forwardBatch, type TrainTask } from './task.ts';

/** A micro-batch, and what a staged forward step reads of it. */
export interface MicroBatch<Batch> {
  readonly batch: Batch;
  readonly numbers: Numbers | undefined;
}

/** Adds the gradients of micro-batches to those of the parameters; in the last one's backward pass their sums over ranks begin. */
export class MicroBatches<Batch> implements Disposable {
  readonly #task: TrainTask<Batch>;
  readonly #work: RepeatedWork;
  readonly #reducer: GradientReducer;
  readonly #inputs: BatchInputs;
  /** Scalars []: what a loss sum is multiplied by, the last one, and the sum of a step's. */
  readonly #scale: Tensor;
  readonly #loss: Tensor;
  readonly lossSum: Tensor;

  /** @param work where passes are repeated */
  constructor(task: TrainTask<Batch>, work: RepeatedWork) {
    const { engine, parameters, grid } = task;
    this.#task = task;
    this.#work = work;
    this.#reducer = new GradientReducer(parameters, grid.data);
    this.#inputs = new BatchInputs(engine);
    const scalar = (): Tensor => Tensor.zeros(engine, [], { kind: 'workspace' }).outliveScope();
    [this.#scale, this.#loss, this.lossSum] = [scalar(), scalar(), scalar()];
  }

  /** What a step will read of its batches. */
  prepare(batches: readonly Batch[]): readonly MicroBatch<Batch>[] {
    const { forwardStep } = this.#task;
    return batches.map((batch) => ({
      batch,
      numbers: typeof forwardStep === 'function' ? undefined : forwardStep.inputs(batch),
    }));
  }

  /** Whether all are of the names, types and shapes of those before: the same work serves them. */
  areAlike(batches: readonly MicroBatch<Batch>[]): boolean {
    const all = batches.map(({ numbers }) => numbers).filter((numbers) => numbers !== undefined);
    return new Set(all.map(layoutOf)).size <= 1 && all.every((numbers) => this.#inputs.fits(numbers));
  }

  /** @param scale what the loss sums are multiplied by, for their gradients */
  beginStep(scale: number): void {
    this.#scale.write([scale]);
    this.lossSum.fill(0);
  }

  /** Begins both passes of a micro-batch. @returns waits for its loss sum */
  run({ batch, numbers }: MicroBatch<Batch>, isLast: boolean): () => number {
    const { engine, forwardStep } = this.#task;
    if (typeof forwardStep === 'function') {
      this.#work.borrow(() => engine.scope(() => this.#passes(() => forwardStep(batch, true), isLast)));
    } else if (numbers) {
      this.#inputs.write(numbers);
      const name = isLast && this.#reducer.isNeeded ? 'passes and sums' : 'passes';
      this.#work.run(name, () => this.#passes(() => forwardStep.forward(this.#inputs, true), isLast));
    }
    return this.#loss.itemLater();
  }

  /** The loss sum of a batch, dropout off, without a trace; in the memory of the passes. */
  evaluate(batch: Batch): number {
    const { engine, forwardStep } = this.#task;
    const forward = (): Tensor => {
      if (typeof forwardStep === 'function') return forwardStep(batch, false);
      const numbers = forwardStep.inputs(batch);
      if (!this.#inputs.fits(numbers)) return forwardBatch(engine, forwardStep, batch, false);
      this.#inputs.write(numbers);
      return forwardStep.forward(this.#inputs, false);
    };
    return this.#work.borrow(() => engine.withoutRecording(() => engine.scope(() => forward().item())));
  }

  #passes(forward: () => Tensor, isLast: boolean): void {
    const { engine } = this.#task;
    const reducer = this.#reducer;
    const watched = <Result>(name: PhaseName, body: () => Result): Result => phase(engine.observer, name, body);
    using tape = new Tape(engine);
    const loss = watched('forward', forward);
    if (isLast) reducer.begin();
    const onLeaf = isLast && reducer.isNeeded ? (leaf: Tensor) => reducer.leafReady(leaf) : undefined;
    watched('backward', () => {
      tape.backward(loss, this.#scale, onLeaf);
      this.#loss.copyFrom(loss);
      accumulate(engine, this.lossSum, this.#loss, 1);
    });
    if (isLast) watched('reduce gradients', () => reducer.finish());
  }

  [Symbol.dispose](): void {
    for (const part of [this.#reducer, this.#inputs, this.#scale, this.#loss, this.lossSum]) part[Symbol.dispose]();
  }
}
