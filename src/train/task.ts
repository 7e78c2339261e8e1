/** What a training run needs from its user: parameters, batches and a forward step. */

import { UsageError } from '../base/errors.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Parameters } from '../parallel/parameters.ts';
import type { Engine } from '../tensor/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Micro-batches one after another; a data set's `createBatchSource` is one. */
export interface BatchStream<Batch> {
  next(): Batch;
  /** Samples drawn so far, over the whole run. */
  readonly consumedSamples: number;
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
  /**
   * The forward pass.
   *
   * @param training whether dropout is on; false in evaluation
   * @returns a scalar [], the sum (not the mean) of the batch's loss terms
   */
  forwardStep(batch: Batch, training: boolean): Tensor;
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
