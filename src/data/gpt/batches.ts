/** Micro-batches in the order of Megatron's `single` sampler, with masks and positions. */

import { DataError, ShapeError, UsageError } from '../../base/errors.ts';
import type { SampleDataset } from './dataset.ts';

export interface BatchOptions {
  readonly dataset: SampleDataset;
  /** Rows b of a micro-batch. */
  readonly microBatchSize: number;
  /** Tokens s of a row; the data set's own length. */
  readonly seqLength: number;
  /** Samples that all ranks together have drawn before; the position to go on from. */
  readonly consumedSamples: number;
  /** End-of-document id; needed by the three options below. */
  readonly eodId?: number | undefined;
  /** Positions start at 0 again after every end of document. */
  readonly resetPositionIds?: boolean;
  /** Tokens attend only to their own document. */
  readonly resetAttentionMask?: boolean;
  /** No loss where the input is the end of a document. */
  readonly eodMaskLoss?: boolean;
  /** Default 0 of 1. */
  readonly dataParallelRank?: number;
  readonly dataParallelSize?: number;
}

/** One micro-batch of one data-parallel rank; every array is `[b·s]`, row by row. */
export interface MicroBatch {
  readonly microBatchSize: number;
  readonly seqLength: number;
  readonly tokens: Int32Array;
  /** The token that follows each token. */
  readonly labels: Int32Array;
  /** 1 where the loss counts, else 0. */
  readonly lossMask: Float32Array;
  readonly positionIds: Int32Array;
  /**
   * With `resetAttentionMask`: the first position of the row that each position may attend to, the start of its
   * document. (Megatron's mask[i+1:, :i+1] = 0 after an end of document at i.) Otherwise undefined: all before it.
   */
  readonly firstKey: Int32Array | undefined;
  /** Number of the first row's sample in the whole run; row r is sample `firstSample + r` on any layout. */
  readonly firstSample: number;
}

/** Micro-batches one after another. */
export interface BatchSource extends Iterable<MicroBatch> {
  /** Samples drawn so far by all ranks together, those before the start included; save it to resume. */
  readonly consumedSamples: number;
  /** Micro-batches left for this rank. */
  readonly remaining: number;
  /** The next micro-batch. @throws DataError when the data set is used up. */
  next(): MicroBatch;
}

/**
 * Opens a source. Rank r takes rows r·b … (r+1)·b of every chunk of b·dataParallelSize consecutive samples, so at one global batch size
 * the data of a step does not depend on the layout, and sample n of the run is a function of the data set and n alone.
 * A last chunk that is not whole is left out.
 *
 * @throws UsageError where a reset or mask option is given without an end-of-document id.
 */
export function createBatchSource(options: BatchOptions): BatchSource {
  const { dataset, microBatchSize: b, seqLength: s } = options;
  const rank = options.dataParallelRank ?? 0;
  const chunk = b * (options.dataParallelSize ?? 1);
  checkOptions(options, rank);
  let consumed = options.consumedSamples;

  const source: BatchSource = {
    get consumedSamples() {
      return consumed;
    },
    get remaining() {
      return Math.max(0, Math.floor((dataset.length - consumed) / chunk));
    },
    next() {
      if (consumed + chunk > dataset.length) {
        throw new DataError(
          `the ${dataset.name} is used up: it has ${dataset.length} samples and ${consumed} have been drawn`,
          { remedy: 'Build the data set for as many samples as the run draws.' },
        );
      }
      const firstSample = consumed + rank * b;
      const batch = readBatch(options, firstSample, b, s);
      consumed += chunk;
      return batch;
    },
    *[Symbol.iterator]() {
      while (source.remaining > 0) yield source.next();
    },
  };
  return source;
}

function readBatch(options: BatchOptions, firstSample: number, b: number, s: number): MicroBatch {
  const tokens = new Int32Array(b * s);
  const labels = new Int32Array(b * s);
  const lossMask = new Float32Array(b * s).fill(1);
  const positionIds = new Int32Array(b * s);
  const firstKey = options.resetAttentionMask === true ? new Int32Array(b * s) : undefined;
  const eod = options.eodId;
  for (let row = 0; row < b; row++) {
    const sample = options.dataset.sample(firstSample + row).tokens; // [s + 1]
    tokens.set(sample.subarray(0, s), row * s);
    labels.set(sample.subarray(1), row * s);
    let documentStart = 0;
    for (let position = 0; position < s; position++) {
      const at = row * s + position;
      positionIds[at] = options.resetPositionIds === true ? position - documentStart : position;
      if (firstKey !== undefined) firstKey[at] = documentStart;
      if (sample[position] === eod) {
        // The end itself still belongs to its document; the next token begins another.
        documentStart = position + 1;
        if (options.eodMaskLoss === true) lossMask[at] = 0;
      }
    }
  }
  return { microBatchSize: b, seqLength: s, tokens, labels, lossMask, positionIds, firstKey, firstSample };
}

function checkOptions(options: BatchOptions, rank: number): void {
  const { dataset, microBatchSize, seqLength, consumedSamples, dataParallelSize = 1 } = options;
  if (seqLength !== dataset.sequenceLength) {
    throw new ShapeError(`the ${dataset.name} has samples of ${dataset.sequenceLength} tokens, not ${seqLength}`);
  }
  const whole = (value: number, least: number) => Number.isSafeInteger(value) && value >= least;
  if (!whole(microBatchSize, 1) || !whole(consumedSamples, 0) || !whole(dataParallelSize, 1)) {
    throw new ShapeError(
      `cannot batch ${microBatchSize} samples for ${dataParallelSize} ranks from sample ${consumedSamples} on`,
    );
  }
  if (!whole(rank, 0) || rank >= dataParallelSize) {
    throw new ShapeError(`there is no data-parallel rank ${rank} of ${dataParallelSize}`);
  }
  const needsEod = [
    options.resetPositionIds === true ? '--reset-position-ids' : '',
    options.resetAttentionMask === true ? '--reset-attention-mask' : '',
    options.eodMaskLoss === true ? '--eod-mask-loss' : '',
  ].filter((flag) => flag !== '');
  if (needsEod.length > 0 && options.eodId === undefined) {
    throw new UsageError(`${needsEod.join(' and ')} need an end-of-document token, and the tokenizer has none`, {
      remedy: 'Leave the option out, or use a tokenizer with an end-of-document token.',
    });
  }
}
