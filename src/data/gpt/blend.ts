/** Mixing data sets by weight: Megatron's `--data-path` list and its greedy blending order. */

import { DataError, ShapeError, UsageError } from '../../base/errors.ts';
import { numpySum } from '../numpy-random.ts';
import type { SampleDataset } from './dataset.ts';

/** A parsed `--data-path`. */
export interface Blend {
  readonly prefixes: readonly string[];
  /** As given, not normalized; undefined where the list has none. */
  readonly weights: readonly number[] | undefined;
}

/**
 * Parses `--data-path`: one prefix, `weight prefix weight prefix …`, or prefixes alone. As in Megatron, prefixes alone
 * are mixed in proportion to the samples each has in one epoch.
 *
 * @throws UsageError where weights and prefixes do not alternate, or a weight is not positive.
 */
export function parseDataPath(list: readonly string[]): Blend {
  const words = list.map((entry) => entry.trim()).filter((word) => word !== '');
  if (words.length === 0) {
    throw new UsageError('--data-path is empty', { remedy: 'Give the prefix of a .bin/.idx pair.' });
  }
  const isNumber = (word: string) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(word);
  const numbers = words.filter(isNumber).length;
  if (numbers === 0) return { prefixes: words, weights: undefined };
  const alternating = words.length % 2 === 0 && words.every((word, i) => isNumber(word) === (i % 2 === 0));
  if (!alternating) {
    throw new UsageError(`--data-path mixes weights and prefixes irregularly: ${words.join(' ')}`, {
      remedy: 'Give a weight before every prefix (--data-path 0.7 books 0.3 news), or no weight at all.',
    });
  }
  const weights = words.filter((_, i) => i % 2 === 0).map(Number);
  const prefixes = words.filter((_, i) => i % 2 === 1);
  const wrong = weights.findIndex((weight) => !(weight > 0) || !Number.isFinite(weight));
  if (wrong >= 0) {
    throw new UsageError(`the weight ${weights[wrong]} of ${prefixes[wrong]} in --data-path is not positive`, {
      remedy: 'Give a positive weight, or leave the data set out.',
    });
  }
  return { prefixes, weights };
}

/** Weights divided by their sum, with NumPy's rounding. */
export function normalizeWeights(weights: readonly number[]): number[] {
  const total = numpySum(weights);
  return weights.map((weight) => weight / total);
}

/** Samples of each part that a weighted blend of `total` samples is planned to use: ⌈total·w⌉. */
export function plannedSamples(weights: readonly number[], total: number): number[] {
  return weights.map((weight) => Math.ceil(total * weight));
}

/** Samples that a part is built with, so that the greedy order never runs out: 0.5 % more than planned. */
export function withSurplus(planned: number): number {
  return Math.ceil(planned * (1 + 0.005));
}

export interface BlendingIndex {
  /** Data set of every sample, `[size]`. */
  readonly datasetIndex: Int16Array;
  /** Sample within that data set, `[size]`. */
  readonly sampleIndex: Uint32Array;
}

/**
 * At every step takes the data set that lags its weight the most: argmax of wₖ·max(i, 1) − countₖ, the first of equals
 * (`build_blending_indices` in Megatron's `helpers.cpp`).
 *
 * @param weights normalized.
 */
export function buildBlendingIndex(weights: readonly number[], size: number): BlendingIndex {
  if (weights.length >= 32767) throw new UsageError(`a blend can have at most 32766 data sets, not ${weights.length}`);
  const datasetIndex = new Int16Array(size);
  const sampleIndex = new Uint32Array(size);
  const shares = Float64Array.from(weights);
  const counts = new Float64Array(weights.length);
  for (let i = 0; i < size; i++) {
    const position = Math.max(i, 1);
    let chosen = 0;
    let largest = (shares[0] as number) * position - (counts[0] as number);
    for (let k = 1; k < shares.length; k++) {
      const lag = (shares[k] as number) * position - (counts[k] as number);
      if (lag > largest) {
        largest = lag;
        chosen = k;
      }
    }
    datasetIndex[i] = chosen;
    const count = counts[chosen] as number;
    sampleIndex[i] = count;
    counts[chosen] = count + 1;
  }
  return { datasetIndex, sampleIndex };
}

/**
 * One data set out of several.
 *
 * @param weights one for each part; they need not be normalized.
 * @throws DataError where the order would ask a part for more samples than it has.
 */
export function createBlendedDataset(
  parts: readonly SampleDataset[],
  weights: readonly number[],
  size: number,
): SampleDataset {
  const [first] = parts;
  if (first === undefined || parts.length !== weights.length) {
    throw new ShapeError(`${parts.length} data sets cannot be blended by ${weights.length} weights`);
  }
  const { datasetIndex, sampleIndex } = buildBlendingIndex(normalizeWeights(weights), size);
  const used = new Float64Array(parts.length);
  for (const part of datasetIndex) used[part] = (used[part] as number) + 1;
  for (const [k, part] of parts.entries()) {
    if ((used[k] as number) > part.length) {
      throw new DataError(`the blend needs ${used[k]} samples of the ${part.name}, which has ${part.length}`, {
        remedy: 'Give the data sets explicit weights, or this one a smaller weight.',
      });
    }
  }
  const name = `blend of ${parts.map((part) => part.name).join(', ')}`;
  return {
    name,
    length: size,
    sequenceLength: first.sequenceLength,
    sample(index) {
      const part = parts[datasetIndex[index] ?? -1];
      if (part === undefined) throw new ShapeError(`the ${name} has ${size} samples; there is no sample ${index}`);
      return part.sample(sampleIndex[index] as number);
    },
  };
}
