/** The data of a GPT run: files or mock data, cut into this rank's micro-batches. */

import { DataError } from '../base/errors.ts';
import type { PretrainGptConfig, SizedGptConfig } from '../config/pretrain-gpt.ts';
import type { MicroBatch } from '../data/gpt/batches.ts';
import { parseSplit } from '../data/gpt/split.ts';
import {
  type BuiltDatasets,
  buildDatasets,
  buildMockDatasets,
  createBatchSource,
  type SampleCounts,
  type SampleDataset,
  type SplitName,
  sampleCounts,
} from '../data/index.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { countLossTerms } from './gpt-loss.ts';
import type { Datasets } from './pretrain.ts';
import { shareBatches } from './shared-batches.ts';
import type { BatchStream } from './task.ts';

export interface GptDatasetOptions {
  readonly vocabSize: number;
  readonly endOfDocument: number | undefined;
  readonly grid: RankGrid;
  readonly engine: () => Engine;
  readonly notify: (message: string) => void;
}

/**
 * Opens the data on the first rank of each tensor group; the others receive what it reads.
 *
 * @throws DataError for damaged, empty or too little data, before anything is computed.
 */
export function openGptDatasets(config: SizedGptConfig, options: GptDatasetOptions): Datasets<MicroBatch> & Disposable {
  const { grid, endOfDocument } = options;
  const samples = samplesOf(config);
  const built = grid.tensor.rank === 0 ? buildSplits(config, options) : undefined;
  const { seqLength, microBatchSize, resetPositionIds, resetAttentionMask, eodMaskLoss } = config;
  const open = (split: SplitName, consumedSamples: number): BatchStream<MicroBatch> =>
    shareBatches({
      ...{ engine: options.engine(), group: grid.tensor, microBatchSize, seqLength, consumedSamples },
      samplesPerDraw: microBatchSize * grid.data.size,
      hasFirstKey: resetAttentionMask,
      open: () =>
        createBatchSource({
          ...{ dataset: datasetOf(built, split), microBatchSize, seqLength, consumedSamples, eodId: endOfDocument },
          ...{ resetPositionIds, resetAttentionMask, eodMaskLoss },
          ...{ dataParallelRank: grid.data.rank, dataParallelSize: grid.data.size },
        }),
    });
  return {
    train: (consumedSamples) => open('train', consumedSamples),
    ...(samples.valid > 0 ? { validation: (consumedSamples: number) => open('valid', consumedSamples) } : {}),
    ...(samples.test > 0 ? { test: () => open('test', 0) } : {}),
    countTerms: countLossTerms,
    [Symbol.dispose]: () => built?.[Symbol.dispose](),
  };
}

function buildSplits(config: PretrainGptConfig, options: GptDatasetOptions): BuiltDatasets {
  const { dataPath, seqLength: sequenceLength, seed, split, dataCachePath: cachePath } = config;
  const { vocabSize, endOfDocument, grid, notify } = options;
  const common = { samples: samplesOf(config), sequenceLength, seed, vocabSize, split };
  const warn = grid.world.rank === 0 ? notify : () => {};
  const built = dataPath
    ? buildDatasets({ ...common, dataPath, warn, ...(cachePath ? { cachePath } : {}) })
    : buildMockDatasets({ ...common, endOfDocument });
  if (built.train) return built;
  built[Symbol.dispose]();
  throw new DataError('the run has no training data', { remedy: 'Give the first weight of --split a value.' });
}

/** What the run draws of each split. Test data is read once at the end, where `--split` gives it a weight. */
function samplesOf(config: PretrainGptConfig): SampleCounts {
  const samples = sampleCounts(config);
  return parseSplit(config.split).test === undefined ? { ...samples, test: 0 } : samples;
}

function datasetOf(built: BuiltDatasets | undefined, split: SplitName): SampleDataset {
  const dataset = built?.[split];
  if (dataset) return dataset;
  throw new DataError(`the run has no ${split} data`, {
    remedy: 'Give it a weight in --split, or use --eval-iters 0.',
  });
}
