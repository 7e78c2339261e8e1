/** The data floor, as the training loop and the commands use it. */

export { type BatchOptions, type BatchSource, createBatchSource, type MicroBatch } from './gpt/batches.ts';
export { type BuildDatasetsOptions, type BuiltDatasets, buildDatasets } from './gpt/build.ts';
export type { SampleDataset, TokenSample } from './gpt/dataset.ts';
export { buildMockDatasets, createMockDataset, type MockDatasetOptions } from './gpt/mock.ts';
export { type RunLength, type SampleCounts, type SplitName, sampleCounts, splitNames } from './gpt/split.ts';
export { optimalDtype } from './indexed-dataset/format.ts';
export { type IndexedDataset, openIndexedDataset } from './indexed-dataset/reader.ts';
export { createIndexedDatasetWriter, type IndexedDatasetWriter } from './indexed-dataset/writer.ts';
export {
  type PreprocessOptions,
  type PreprocessProgress,
  type PreprocessSummary,
  preprocess,
} from './preprocess/preprocess.ts';
export { createTokenizer } from './tokenizers/create-tokenizer.ts';
export { type Tokenizer, type TokenizerSource, type TokenizerType, tokenizerTypes } from './tokenizers/tokenizer.ts';
