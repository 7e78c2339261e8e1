/** From `--data-path` and `--split` to the train, valid and test data sets of a run. */

import { DataError, UsageError } from '../../base/errors.ts';
import { type IndexedDataset, openIndexedDataset } from '../indexed-dataset/reader.ts';
import { createBlendedDataset, normalizeWeights, parseDataPath, plannedSamples, withSurplus } from './blend.ts';
import type { SampleDataset } from './dataset.ts';
import { createGptDataset } from './gpt-dataset.ts';
import type { IndexCacheOptions } from './index-cache.ts';
import { parseSplit, type SampleCounts, type SplitName, sequenceRange, splitNames } from './split.ts';

export interface BuildDatasetsOptions extends IndexCacheOptions {
  /** `--data-path`, see `parseDataPath`. */
  readonly dataPath: readonly string[];
  /** `--split`. */
  readonly split: string;
  /** Samples the run needs of each split; a split with 0 is not built. */
  readonly samples: SampleCounts;
  readonly sequenceLength: number;
  readonly seed: number;
  readonly vocabSize?: number | undefined;
}

/** The splits of a run; dispose to close the files. */
export interface BuiltDatasets extends Disposable {
  readonly train: SampleDataset | undefined;
  readonly valid: SampleDataset | undefined;
  readonly test: SampleDataset | undefined;
}

/**
 * Builds what the run needs, and finds out now rather than days later if there is not enough of it.
 *
 * One prefix gives as many epochs as needed. Weighted prefixes each give ⌈⌈samples·w⌉·1.005⌉ samples, mixed greedily.
 * Prefixes without weights give one epoch each, mixed in proportion to their sizes; a run that needs more than that is refused.
 *
 * @throws UsageError for a malformed path or split; DataError for a damaged, empty or too small data set.
 */
export function buildDatasets(options: BuildDatasetsOptions): BuiltDatasets {
  const { prefixes, weights } = parseDataPath(options.dataPath);
  const bookends = parseSplit(options.split);
  const opened: IndexedDataset[] = [];
  const close = () => {
    for (const indexed of opened) indexed[Symbol.dispose]();
  };

  function part(indexed: IndexedDataset, split: SplitName, sampleCount: number | undefined): SampleDataset {
    const { sequenceLength, seed, vocabSize, cachePath, warn } = options;
    const share = bookends[split];
    const range = share === undefined ? { begin: 0, end: 0 } : sequenceRange(share, indexed.sequenceCount);
    return createGptDataset({ indexed, split, range, sampleCount, sequenceLength, seed, vocabSize, cachePath, warn });
  }

  function build(split: SplitName): SampleDataset | undefined {
    const wanted = options.samples[split];
    if (wanted === 0) return undefined;
    if (!Number.isSafeInteger(wanted) || wanted < 0) throw new UsageError(`cannot draw ${wanted} ${split} samples`);
    const [only] = opened;
    if (only !== undefined && opened.length === 1 && weights === undefined) return part(only, split, wanted);
    if (weights === undefined) return blendBySize(split, wanted);
    const shares = normalizeWeights(weights);
    const planned = plannedSamples(shares, wanted);
    const parts = opened.map((indexed, k) => part(indexed, split, withSurplus(planned[k] as number)));
    return createBlendedDataset(
      parts,
      shares,
      planned.reduce((sum, count) => sum + count, 0),
    );
  }

  function blendBySize(split: SplitName, wanted: number): SampleDataset {
    const parts = opened.map((indexed) => part(indexed, split, undefined));
    const sizes = parts.map((dataset) => dataset.length);
    const available = sizes.reduce((sum, count) => sum + count, 0);
    if (available < wanted) {
      throw new DataError(
        `the run needs ${wanted} ${split} samples, but one epoch of the ${parts.length} data sets has ${available}`,
        { remedy: 'Give every prefix of --data-path a weight, so that data is repeated, or run fewer iterations.' },
      );
    }
    return createBlendedDataset(parts, sizes, wanted);
  }

  try {
    for (const prefix of prefixes) opened.push(openIndexedDataset(prefix));
    const [train, valid, test] = splitNames.map(build);
    return { train, valid, test, [Symbol.dispose]: close };
  } catch (error) {
    close();
    throw error;
  }
}
