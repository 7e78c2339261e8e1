/**
 * Which tokens make up which sample: the document, sample and shuffle indices of Megatron's `GPTDataset`, equal in
 * every bit (`megatron/core/datasets/gpt_dataset.py`, `helpers.cpp`).
 */

import { DataError } from '../../base/errors.ts';
import { createNumpyRandom, type NumpyRandom } from '../numpy-random.ts';
import type { SequenceRange } from './split.ts';

export interface SampleIndexOptions {
  /** Tokens of every sequence of the data set. */
  readonly sequenceLengths: Int32Array;
  /** The sequences of the split. */
  readonly range: SequenceRange;
  /** Samples wanted; undefined for exactly one epoch. */
  readonly sampleCount: number | undefined;
  /** Tokens L of a sample; it is read with one more, the last label. */
  readonly sequenceLength: number;
  /** Seed of the NumPy stream that orders documents, then samples. */
  readonly seed: number;
}

/** Sizes that follow from the options without building anything. */
export interface SampleIndexPlan {
  readonly tokensPerEpoch: number;
  readonly epochs: number;
  /** Samples there are, at least `sampleCount`. */
  readonly samples: number;
  /** True where the last epoch is shuffled by itself, because the run uses less than 80 % of it. */
  readonly separateFinalEpoch: boolean;
  /** Samples before the last epoch, where it is separate; otherwise all. */
  readonly samplesBeforeFinalEpoch: number;
}

export interface SampleIndex {
  readonly plan: SampleIndexPlan;
  /** Sequence numbers in the order in which they are read, `[epochs · sequences]`. */
  readonly documentIndex: Int32Array;
  /** Where each sample begins, `[samples + 1, 2]`: position in `documentIndex`, offset in that sequence. */
  readonly sampleIndex: Int32Array;
  /** Sample read at each step, `[samples]`. */
  readonly shuffleIndex: Uint32Array;
}

const int32Maximum = 0x7fffffff;

/**
 * @throws DataError where the split has no tokens, or the index would not fit the 32 bits of its arrays.
 */
export function planSampleIndex(options: SampleIndexOptions): SampleIndexPlan {
  const { range, sequenceLengths, sequenceLength, sampleCount } = options;
  let tokensPerEpoch = 0;
  for (let i = range.begin; i < range.end; i++) tokensPerEpoch += sequenceLengths[i] as number;
  if (tokensPerEpoch === 0) {
    throw new DataError(`the sequences ${range.begin} to ${range.end} hold no tokens`, {
      remedy: 'Give the split a larger share with --split, or use more data.',
    });
  }
  // Each sample shares its last label with the next sample's first token, so E epochs hold ⌊(E·T − 1) / L⌋ samples.
  const epochs =
    sampleCount === undefined ? 1 : Math.max(1, Math.ceil((sampleCount * sequenceLength + 1) / tokensPerEpoch));
  const samplesOf = (epochCount: number) => Math.floor((epochCount * tokensPerEpoch - 1) / sequenceLength);
  const samples = samplesOf(epochs);
  const entries = epochs * (range.end - range.begin);
  if (entries > int32Maximum || samples > int32Maximum) {
    throw new DataError(`${samples} samples over ${entries} documents exceed the index's limit of ${int32Maximum}`, {
      remedy: 'Train for fewer iterations, or on more data in longer documents.',
    });
  }
  let separateFinalEpoch = false;
  if (epochs > 1 && sampleCount !== undefined) {
    const fromFinalEpoch = sampleCount - samplesOf(epochs - 1);
    separateFinalEpoch = fromFinalEpoch < Math.trunc(0.8 * samplesOf(1));
  }
  return {
    tokensPerEpoch,
    epochs,
    samples,
    separateFinalEpoch,
    samplesBeforeFinalEpoch: separateFinalEpoch ? samplesOf(epochs - 1) : samples,
  };
}

/** Builds all three indices. One random stream orders the documents first and the samples after. */
export function buildSampleIndex(options: SampleIndexOptions, plan = planSampleIndex(options)): SampleIndex {
  const random = createNumpyRandom(options.seed);
  const documentIndex = buildDocumentIndex(options.range, plan, random);
  const sampleIndex = walkSamples(options.sequenceLengths, documentIndex, options.sequenceLength, plan.samples);
  const shuffleIndex = buildShuffleIndex(plan, random);
  return { plan, documentIndex, sampleIndex, shuffleIndex };
}

function buildDocumentIndex(range: SequenceRange, plan: SampleIndexPlan, random: NumpyRandom): Int32Array {
  const count = range.end - range.begin;
  const documentIndex = new Int32Array(plan.epochs * count);
  for (let epoch = 0, at = 0; epoch < plan.epochs; epoch++) {
    for (let sequence = range.begin; sequence < range.end; sequence++) documentIndex[at++] = sequence;
  }
  const shuffledTogether = plan.separateFinalEpoch ? (plan.epochs - 1) * count : documentIndex.length;
  random.shuffle(documentIndex.subarray(0, shuffledTogether));
  if (plan.separateFinalEpoch) random.shuffle(documentIndex.subarray(shuffledTogether));
  return documentIndex;
}

/** Cuts the documents, read one after another, into samples of L + 1 tokens that overlap by one. */
function walkSamples(lengths: Int32Array, documentIndex: Int32Array, sequenceLength: number, samples: number) {
  const sampleIndex = new Int32Array(2 * (samples + 1));
  let document = 0;
  let offset = 0;
  for (let sample = 1; sample <= samples; sample++) {
    let missing = sequenceLength + 1;
    for (;;) {
      const available = (lengths[documentIndex[document] as number] as number) - offset;
      if (available >= missing) {
        // The last token is read again as the first of the next sample.
        offset += missing - 1;
        break;
      }
      missing -= available;
      document++;
      offset = 0;
    }
    sampleIndex[2 * sample] = document;
    sampleIndex[2 * sample + 1] = offset;
  }
  return sampleIndex;
}

function buildShuffleIndex(plan: SampleIndexPlan, random: NumpyRandom): Uint32Array {
  const shuffleIndex = new Uint32Array(plan.samples);
  for (let i = 0; i < shuffleIndex.length; i++) shuffleIndex[i] = i;
  random.shuffle(shuffleIndex.subarray(0, plan.samplesBeforeFinalEpoch));
  if (plan.samplesBeforeFinalEpoch < plan.samples) random.shuffle(shuffleIndex.subarray(plan.samplesBeforeFinalEpoch));
  return shuffleIndex;
}
