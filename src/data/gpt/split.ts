/** How a data set is cut into train, valid and test, and how many samples a run needs of each; as Megatron does. */

import { UsageError } from '../../base/errors.ts';
import { numpySum } from '../numpy-random.ts';

export const splitNames = ['train', 'valid', 'test'] as const;
export type SplitName = (typeof splitNames)[number];

/** A range of sequences, [begin, end). */
export interface SequenceRange {
  readonly begin: number;
  readonly end: number;
}

/** Shares of one data set: cumulative bookends in [0, 1], or undefined for a split of weight 0. */
export type SplitBookends = Readonly<Record<SplitName, readonly [number, number] | undefined>>;

/**
 * Parses `--split`, for example "969, 30, 1": up to three weights, separated by commas, slashes or blanks, and normalized.
 *
 * @throws UsageError for anything else, and where all weights are 0.
 */
export function parseSplit(split: string): SplitBookends {
  const parts = split.split(/[\s,/]+/).filter((part) => part !== '');
  const weights = parts.map((part) => (/^(\d+\.?\d*|\.\d+)$/.test(part) ? Number(part) : Number.NaN));
  if (weights.length < 1 || weights.length > 3 || weights.some((weight) => !Number.isFinite(weight))) {
    throw new UsageError(`--split "${split}" is not a list of one to three weights`, {
      remedy: 'Write the weights of train, valid and test, for example --split 969,30,1.',
    });
  }
  while (weights.length < 3) weights.push(0);
  const total = numpySum(weights);
  if (total === 0) {
    throw new UsageError(`--split "${split}" gives every split the weight 0`, {
      remedy: 'Give at least one split a weight, for example --split 969,30,1.',
    });
  }
  const [train = 0, valid = 0, test = 0] = weights.map((weight) => weight / total);
  const ends = [train, train + valid, train + valid + test] as const;
  const bookend = (begin: number, end: number) => (end <= begin ? undefined : ([begin, end] as const));
  return { train: bookend(0, ends[0]), valid: bookend(ends[0], ends[1]), test: bookend(ends[1], ends[2]) };
}

/** Sequences of a split, by Python's rounding (half to even) of each bookend. */
export function sequenceRange(bookends: readonly [number, number], sequenceCount: number): SequenceRange {
  return {
    begin: roundHalfEven(bookends[0] * sequenceCount),
    end: Math.min(roundHalfEven(bookends[1] * sequenceCount), sequenceCount),
  };
}

/** Python's `round`: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

export interface RunLength {
  readonly trainIters: number;
  readonly globalBatchSize: number;
  /** 0 where the run does not evaluate. */
  readonly evalIters: number;
  /** Undefined where the run evaluates only at its end. */
  readonly evalInterval?: number | undefined;
}

/** Samples that a run draws from each split. */
export type SampleCounts = Readonly<Record<SplitName, number>>;

/** Megatron's counts: every evaluation during the run and the one after it draw new validation samples. */
export function sampleCounts(run: RunLength): SampleCounts {
  const evaluations = (run.evalInterval === undefined ? 0 : Math.floor(run.trainIters / run.evalInterval)) + 1;
  return {
    train: run.trainIters * run.globalBatchSize,
    valid: evaluations * run.evalIters * run.globalBatchSize,
    test: run.evalIters * run.globalBatchSize,
  };
}
