/** How well the model knows text that it never saw, beside the best that token frequencies alone can do. */

import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { createGptDataset } from '../../data/gpt/gpt-dataset.ts';
import { createBatchSource, type IndexedDataset, openIndexedDataset, type Tokenizer } from '../../data/index.ts';
import type { GptModel } from '../../model/gpt.ts';
import { gptLossSum } from '../../train/gpt-loss.ts';
import type { StageConsole } from './console.ts';
import type { DataResult } from './prepare.ts';

export type EvaluationResult = {
  /** Tokens predicted, the same ones by both. */
  readonly tokens: number;
  /** Bytes of text that they spell. */
  readonly bytes: number;
  /** Mean losses in nats per token. */
  readonly unigramLoss: number;
  readonly modelLoss: number;
};

/** Bits per byte of text: comparable between vocabularies, unlike the perplexity. */
export const bitsPerByte = (loss: number, { tokens, bytes }: EvaluationResult): number =>
  (loss * tokens) / Math.LN2 / bytes;

const microBatchSize = 4;

/** Evaluates on the test part: windows of the model's length, each without what stands before it. */
export async function evaluateDemo(
  options: {
    readonly folder: string;
    readonly data: DataResult;
    readonly model: GptModel;
    readonly tokenizer: Tokenizer;
    readonly signal: AbortSignal;
  },
  page: StageConsole,
): Promise<EvaluationResult> {
  const { folder, data, model, tokenizer, signal } = options;
  const { engine } = model.output.weight.value;
  using indexed = openIndexedDataset(join(folder, data.prefix));
  const logProbability = unigram(indexed, data.trainDocuments, tokenizer.vocabSize);
  const begin = data.trainDocuments + data.validDocuments;
  const seqLength = model.config.maxPositionEmbeddings;
  const dataset = createGptDataset({
    ...{ indexed, split: 'test', range: { begin, end: begin + data.testDocuments }, sampleCount: undefined },
    ...{ sequenceLength: seqLength, seed: 0, vocabSize: tokenizer.vocabSize },
    cachePath: join(folder, 'data', 'cache'),
  });
  const size = Math.min(microBatchSize, dataset.length);
  const batches = createBatchSource({ dataset, microBatchSize: size, seqLength, consumedSamples: 0 });
  const total = batches.remaining * size * seqLength;
  let tokens = 0;
  let bytes = 0;
  let unigramSum = 0;
  let modelSum = 0;
  for (const batch of batches) {
    signal.throwIfAborted();
    modelSum += engine.withoutRecording(() => engine.scope(() => gptLossSum(engine, model, batch, false).item()));
    for (const label of batch.labels) {
      unigramSum -= logProbability[label] as number;
      if (label !== tokenizer.endOfDocument) bytes += tokenizer.decodeBytes(label).byteLength;
    }
    tokens += batch.labels.length;
    page.update(() => `${tokens} of ${total} tokens`);
    await setImmediate();
  }
  return { tokens, bytes, unigramLoss: unigramSum / tokens, modelLoss: modelSum / tokens };
}

/** ln((count + 1) / (tokens + v)) over the training documents: add-one smoothing (Laplace). */
export function unigram(indexed: IndexedDataset, trainDocuments: number, vocabSize: number): Float64Array {
  const counts = new Float64Array(vocabSize);
  let tokens = 0;
  for (let document = 0; document < trainDocuments; document++) {
    const ids = indexed.readSequence(document);
    for (const id of ids) counts[id] = (counts[id] as number) + 1;
    tokens += ids.length;
  }
  return counts.map((count) => Math.log((count + 1) / (tokens + vocabSize)));
}
