/** Samples of L + 1 tokens cut from a split of an indexed data set, in Megatron's order. */

import { DataError, ShapeError } from '../../base/errors.ts';
import type { IndexedDataset } from '../indexed-dataset/reader.ts';
import type { SampleDataset } from './dataset.ts';
import { type IndexCacheOptions, loadOrBuildSampleIndex } from './index-cache.ts';
import { planSampleIndex } from './sample-index.ts';
import type { SequenceRange, SplitName } from './split.ts';

export interface GptDatasetOptions extends IndexCacheOptions {
  readonly indexed: IndexedDataset;
  readonly split: SplitName;
  /** Sequences of the split. */
  readonly range: SequenceRange;
  /** Samples the run needs; undefined for one epoch. */
  readonly sampleCount: number | undefined;
  readonly sequenceLength: number;
  readonly seed: number;
  /** Ids must be below this, where it is given. */
  readonly vocabSize?: number | undefined;
}

export interface GptDataset extends SampleDataset {
  readonly split: SplitName;
  readonly epochs: number;
  readonly tokensPerEpoch: number;
}

/**
 * Opens the samples of a split; indices come from the cache or are built.
 *
 * @throws DataError where the split is empty or too short for one sample; from `sample`, where an id is outside the vocabulary.
 */
export function createGptDataset(options: GptDatasetOptions): GptDataset {
  const { indexed, split, range, sequenceLength, vocabSize } = options;
  const name = `${split} split of ${indexed.prefix}`;
  if (!Number.isInteger(sequenceLength) || sequenceLength < 1) {
    throw new ShapeError(`a sample cannot have ${sequenceLength} tokens`);
  }
  const indexOptions = {
    sequenceLengths: indexed.sequenceLengths,
    range,
    sampleCount: options.sampleCount,
    sequenceLength,
    seed: options.seed,
  };
  refuseEmpty(name, options, indexOptions.sampleCount);
  const plan = planSampleIndex(indexOptions);
  const { documentIndex, sampleIndex, shuffleIndex } = loadOrBuildSampleIndex(
    { ...indexOptions, dataset: indexed.prefix, split },
    plan,
    options,
  );

  return {
    name,
    split,
    length: plan.samples,
    sequenceLength,
    epochs: plan.epochs,
    tokensPerEpoch: plan.tokensPerEpoch,
    sample(index) {
      const sample = shuffleIndex[index];
      if (sample === undefined)
        throw new ShapeError(`${name} has ${plan.samples} samples; there is no sample ${index}`);
      const lastDocument = sampleIndex[2 * sample + 2] as number;
      const lastOffset = sampleIndex[2 * sample + 3] as number;
      const tokens = new Int32Array(sequenceLength + 1);
      let offset = sampleIndex[2 * sample + 1] as number;
      let filled = 0;
      for (let document = sampleIndex[2 * sample] as number; document <= lastDocument; document++) {
        const sequence = documentIndex[document] as number;
        const end = document === lastDocument ? lastOffset + 1 : (indexed.sequenceLengths[sequence] as number);
        indexed.readTokens(sequence, offset, end - offset, tokens, filled);
        if (vocabSize !== undefined) {
          const bad = firstOutside(tokens, filled, filled + end - offset, vocabSize);
          if (bad >= 0)
            throw outsideVocabulary(indexed.prefix, sequence, offset + bad - filled, tokens[bad], vocabSize);
        }
        filled += end - offset;
        offset = 0;
      }
      return { tokens };
    },
  };
}

function firstOutside(tokens: Int32Array, from: number, to: number, vocabSize: number): number {
  for (let i = from; i < to; i++) {
    const token = tokens[i] as number;
    if (token < 0 || token >= vocabSize) return i;
  }
  return -1;
}

function outsideVocabulary(
  prefix: string,
  document: number,
  offset: number,
  id: number | undefined,
  vocabSize: number,
) {
  return new DataError(
    `${prefix}: document ${document} has the id ${id} at token ${offset}, but the vocabulary has ${vocabSize} ids`,
    { remedy: 'Train with the tokenizer that the data was preprocessed with, or preprocess the data again.' },
  );
}

function refuseEmpty(name: string, options: GptDatasetOptions, sampleCount: number | undefined): void {
  const { indexed, split, range, sequenceLength } = options;
  const sequences = range.end - range.begin;
  let tokens = 0;
  for (let i = range.begin; i < range.end; i++) tokens += indexed.sequenceLengths[i] as number;
  const found = `it has ${tokens} tokens in ${sequences} of the data set's ${indexed.sequenceCount} documents`;
  const remedy = `Give ${split} a larger share (--split 8,2,0, say), or use more data${split === 'train' ? '' : ', or do without validation: --eval-iters 0'}.`;
  if (tokens === 0) throw new DataError(`the ${name} is empty: ${found}`, { remedy });
  if (sampleCount === undefined && tokens < sequenceLength + 1) {
    throw new DataError(`the ${name} is too short for one sample of ${sequenceLength} + 1 tokens: ${found}`, {
      remedy,
    });
  }
}
