/** Forward and backward passes of a step, one micro-batch after another. */

import { Tape } from '../autograd/tape.ts';
import { GradientReducer } from '../parallel/data-parallel.ts';
import { type PhaseName, phase } from '../tensor/observer.ts';
import { Tensor } from '../tensor/tensor.ts';
import { BatchInputs } from './batch-inputs.ts';
import type { RepeatedWork } from './repeated-work.ts';
import { forwardBatch, type TrainTask } from './task.ts';

/** Adds the gradients of micro-batches to those of the parameters; in the last one's backward pass their sums over ranks begin. */
export class MicroBatches<Batch> implements Disposable {
  readonly #task: TrainTask<Batch>;
  readonly #work: RepeatedWork;
  readonly #reducer: GradientReducer;
  readonly #inputs: BatchInputs;
  #hasRun = false;
  /** Scalars []: what a loss sum is multiplied by, and the last one. */
  readonly #scale: Tensor;
  readonly #loss: Tensor;

  /** @param work where passes are repeated; it must capture nothing where the task's forward step is a plain one */
  constructor(task: TrainTask<Batch>, work: RepeatedWork) {
    const { engine, parameters, grid } = task;
    this.#task = task;
    this.#work = work;
    this.#reducer = new GradientReducer(parameters, grid.data);
    this.#inputs = new BatchInputs(engine);
    const scalar = (): Tensor => {
      const tensor = Tensor.zeros(engine, [], { kind: 'workspace' });
      engine.forget(tensor); // outlives any scope
      return tensor;
    };
    [this.#scale, this.#loss] = [scalar(), scalar()];
  }

  /** What the loss sums of the step to come are multiplied by, for their gradients. */
  set scale(value: number) {
    this.#scale.write([value]);
  }

  /** Begins both passes of a micro-batch. @returns waits for its loss sum */
  run(batch: Batch, isLast: boolean): () => number {
    const { forwardStep } = this.#task;
    if (typeof forwardStep === 'function') {
      this.#work.run('', () => this.#passes(() => forwardStep(batch, true), isLast));
    } else {
      if (!this.#inputs.write(forwardStep.inputs(batch)) && this.#hasRun) this.#work.stopCapturing();
      const name = isLast && this.#reducer.isNeeded ? 'passes and sums' : 'passes';
      this.#work.run(name, () => this.#passes(() => forwardStep.forward(this.#inputs.tensors, true), isLast));
    }
    this.#hasRun = true;
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
      return forwardStep.forward(this.#inputs.tensors, false);
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
    watched('backward', () => tape.backward(loss, this.#scale, onLeaf));
    this.#loss.copyFrom(loss);
    if (isLast) watched('reduce gradients', () => reducer.finish());
  }

  [Symbol.dispose](): void {
    for (const part of [this.#reducer, this.#inputs, this.#scale, this.#loss]) part[Symbol.dispose]();
  }
}
