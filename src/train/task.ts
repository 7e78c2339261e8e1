/** What a training run needs from its user: parameters, batches and a forward step. */

import { UsageError } from '../base/errors.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Parameters } from '../parallel/parameters.ts';
import type { Engine } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { BatchInputs, type HostNumbers, type InputTensors } from './batch-inputs.ts';

/** Micro-batches one after another; a data set's `createBatchSource` is one. */
export interface BatchStream<Batch> {
  next(): Batch;
  /** Samples drawn so far, over the whole run. */
  readonly consumedSamples: number;
}

/**
 * A forward step in two parts: what it reads of a batch, and what it computes from tensors alone. The second part passes no numbers
 * between the host and the device and does the same for every batch, so a GPU may record it once and do it again.
 */
export interface StagedForward<Batch, Name extends string = string> {
  /**
   * Under the same names, with the same types and shapes, for every batch. Called for all batches of a step before the first is
   * computed: what it returns must stay as it is until then.
   */
  inputs(batch: Batch): Readonly<Partial<Record<Name, HostNumbers>>>;
  /**
   * Numbers that change from batch to batch must come as inputs: what is read from elsewhere is what it was when the step was
   * recorded. So `DropoutAt.firstSample` is to be an input too (`counterWords`), or every step drops the same.
   *
   * @returns a scalar [], the sum (not the mean) of the batch's loss terms; dropout only where `training`
   */
  forward(inputs: InputTensors<Name>, training: boolean): Tensor;
}

/** The forward pass of a batch in one part, which may read what it likes: a scalar [], the sum (not the mean) of its loss terms. */
export type PlainForward<Batch> = (batch: Batch, training: boolean) => Tensor;

export type ForwardStep<Batch> = PlainForward<Batch> | StagedForward<Batch>;

/** The loss sum of one batch, whose inputs live as long as it takes. */
export function forwardBatch<Batch>(engine: Engine, step: ForwardStep<Batch>, batch: Batch, training: boolean): Tensor {
  if (typeof step === 'function') return step(batch, training);
  using inputs = new BatchInputs(engine);
  inputs.write(step.inputs(batch));
  return step.forward(inputs, training);
}

/** A model and its data on one rank, seen from the training loop. Batches are this rank's share of the data-parallel group's. */
export interface TrainTask<Batch> {
  readonly engine: Engine;
  readonly parameters: Parameters;
  /** This rank's place among all. */
  readonly grid: RankGrid;
  /** A stream of training micro-batches that goes on after `consumedSamples`. */
  trainBatches(consumedSamples: number): BatchStream<Batch>;
  /** Validation micro-batches, from a position in the validation data on; undefined where there are none. */
  validationBatches(consumedSamples: number): BatchStream<Batch> | undefined;
  /** Test micro-batches; undefined where there are none. */
  testBatches(): BatchStream<Batch> | undefined;
  /** How many loss terms a batch has: what the loss is averaged over, over the whole global batch. */
  countTerms(batch: Batch): number;
  /** The forward pass: the sum of a batch's loss terms, dropout off in evaluation. */
  readonly forwardStep: ForwardStep<Batch>;
}

/** Samples of one update and how they are cut. */
export interface BatchSizes {
  readonly microBatchSize: number;
  /** Over all ranks; a multiple of the micro-batch size times the data-parallel size. */
  readonly globalBatchSize: number;
}

/** Micro-batches that each data-parallel rank computes for one update. */
export const microBatchesPerRank = (sizes: BatchSizes, grid: RankGrid): number =>
  sizes.globalBatchSize / (sizes.microBatchSize * grid.data.size);

/** @throws UsageError where the global batch cannot be cut evenly, with one that can. */
export function checkBatchSizes({ microBatchSize, globalBatchSize }: BatchSizes, { data }: RankGrid): void {
  const share = microBatchSize * data.size;
  if (globalBatchSize % share === 0) return;
  const nearest = Math.max(1, Math.round(globalBatchSize / share)) * share;
  throw new UsageError(
    `a global batch of ${globalBatchSize} cannot be cut into micro-batches of ${microBatchSize} for ${data.size} data-parallel ranks`,
    { remedy: `Choose a multiple of ${share}, for example --global-batch-size ${nearest}.` },
  );
}
