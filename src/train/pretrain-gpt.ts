/** `megatron pretrain gpt`: from a configuration to a trained model. */

import { CheckpointError, DataError } from '../base/errors.ts';
import { formatInteger } from '../base/format.ts';
import type { ProgressStream } from '../base/progress.ts';
import { hasCheckpoint, openCheckpoint } from '../checkpoint/index.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import { tokenizerSource } from '../config/shared-flags.ts';
import { createBatchSource } from '../data/gpt/batches.ts';
import { buildDatasets } from '../data/gpt/build.ts';
import type { SampleDataset } from '../data/gpt/dataset.ts';
import { createMockDataset } from '../data/gpt/mock.ts';
import { sampleCounts, splitNames } from '../data/gpt/split.ts';
import { createTokenizer } from '../data/tokenizers/create-tokenizer.ts';
import type { Tokenizer } from '../data/tokenizers/tokenizer.ts';
import { paddedVocabSize } from '../model/config.ts';
import { GptModel } from '../model/gpt.ts';
import { AdamW } from '../optim/adamw.ts';
import { createEngine } from '../tensor/engines/select.ts';
import { architectureRecord, assertSameArchitecture, modelOfRun } from './gpt-architecture.ts';
import { type GptBatches, gptTask } from './gpt-task.ts';
import { type ExitReason, type LoopEvents, type Progress, trainLoop } from './loop.ts';
import { modelFlopsPerToken, palmFlopsPerToken } from './report/flops.ts';
import { closingWords, createRunReport, memoryWords } from './run-report.ts';
import { assertSameTokenizer, portableSource, tokenizerAttachments, tokenizerRecord } from './tokenizer-files.ts';
import { loadTraining, saveTraining } from './training-checkpoint.ts';

export interface PretrainStreams {
  readonly stdout: ProgressStream;
  readonly stderr: ProgressStream;
  /** Asks for an orderly end. */
  readonly signal?: AbortSignal;
  /** Called besides the run's own reports. */
  readonly events?: LoopEvents;
  /** Megatron's log lines; default true. */
  readonly logLines?: boolean;
}

export interface PretrainResult {
  readonly reason: ExitReason;
  readonly iteration: number;
}

/** @throws MegatronError of the kind that fits, before anything is written where the configuration cannot work. */
export async function pretrainGpt(config: PretrainGptConfig, streams: PretrainStreams): Promise<PretrainResult> {
  const { stderr } = streams;
  const startedAt = performance.now();
  const notify = (message: string): void => void stderr.write(`${message}\n`);
  refuseToMixRuns(config);
  using resources = new DisposableStack();
  const checkpoint = config.load === undefined ? undefined : resources.use(openCheckpoint(config.load));
  const tokenizer = config.vocabSize === undefined ? createTokenizer(tokenizerSource(config)) : undefined;
  if (checkpoint && tokenizer) assertSameTokenizer(checkpoint, tokenizer);
  const vocabSize = config.vocabSize ?? tokenizer?.vocabSize ?? 0;
  const modelConfig = modelOfRun(config, vocabSize);
  if (checkpoint) assertSameArchitecture(checkpoint, modelConfig);

  const batches = openBatches(config, vocabSize, tokenizer, resources, notify);
  const { device, numThreads: threads } = config;
  const engine = resources.use(await createEngine({ device, threads, notify }));
  const model = new GptModel(modelConfig);
  model.parameters.allocate(engine);
  const { adamBeta1: beta1, adamBeta2: beta2, adamEps: epsilon, weightDecay } = config;
  const optimizer = resources.use(new AdamW(model.parameters, { beta1, beta2, epsilon, weightDecay }));
  const progress: Progress = { iteration: 0, consumedSamples: 0, lossSum: 0, lossCount: 0 };
  if (checkpoint) loadTraining(checkpoint, { parameters: model.parameters, optimizer, progress });
  else model.parameters.initialize(config.seed);

  const { numLayers, hiddenSize, seqLength: sequenceLength, save } = config;
  const parameterCount = model.parameters.count;
  const report = resources.use(
    createRunReport({
      engine,
      trainIters: config.trainIters,
      globalBatchSize: config.globalBatchSize,
      tokensPerSample: sequenceLength,
      modelFlopsPerToken: modelFlopsPerToken({
        ...{ numLayers, hiddenSize, sequenceLength },
        vocabularySize: paddedVocabSize(modelConfig),
      }),
      palmFlopsPerToken: palmFlopsPerToken({ numLayers, hiddenSize, sequenceLength, parameterCount }),
      startIteration: progress.iteration,
      save,
      tensorboardDir: config.tensorboardDir,
      ...streams,
    }),
  );
  report.note(`engine: ${engine.backend.description}`);
  report.note(`model: ${formatInteger(parameterCount)} parameters, vocabulary ${formatInteger(vocabSize)}`);
  if (checkpoint) report.note(`going on from ${checkpoint.folder}, iteration ${progress.iteration}`);

  const settings = tokenizer ? { tokenizerSource: portableSource(tokenizerSource(config)) } : {};
  const attachments = tokenizer ? tokenizerAttachments(tokenizerSource(config)) : [];
  const saveNow = (folder: string): void => {
    const { warnings } = saveTraining(
      { parameters: model.parameters, optimizer, progress },
      {
        folder,
        retain: config.saveRetain,
        architecture: architectureRecord(modelConfig),
        tokenizer: tokenizer ? tokenizerRecord(tokenizer) : null,
        attachments,
        tokensPerSample: sequenceLength,
        settings,
      },
    );
    for (const warning of warnings) report.note(`warning: ${warning}`);
    report.note(`saved iteration ${progress.iteration} in ${folder}`);
  };
  const { signal } = streams;
  const events = joinEvents(
    report.events,
    streams.events ?? {},
    save === undefined ? {} : { save: () => saveNow(save) },
  );
  const reason = await trainLoop(gptTask(engine, model, batches), optimizer, progress, { ...config, signal }, events);
  report.note(`${closingWords(reason, progress.iteration, startedAt, save)} (${memoryWords(engine)})`);
  return { reason, iteration: progress.iteration };
}

/** A new run must not write among the checkpoints of another. */
function refuseToMixRuns({ save, load }: PretrainGptConfig): void {
  if (save === undefined || load !== undefined || !hasCheckpoint(save)) return;
  throw new CheckpointError(`${save} already holds checkpoints of a run`, {
    remedy: `Add --load ${save} to go on with that run, or choose another --save folder for a new one.`,
  });
}

function openBatches(
  config: PretrainGptConfig,
  vocabSize: number,
  tokenizer: Tokenizer | undefined,
  resources: DisposableStack,
  notify: (message: string) => void,
): GptBatches {
  const { seqLength, microBatchSize, seed } = config;
  const samples = sampleCounts(config);
  const eodId = tokenizer?.endOfDocument;
  const datasets: Partial<Record<(typeof splitNames)[number], SampleDataset | undefined>> = config.dataPath
    ? resources.use(
        buildDatasets({
          ...{ dataPath: config.dataPath, split: config.split, samples, sequenceLength: seqLength, seed, vocabSize },
          ...(config.dataCachePath === undefined ? {} : { cachePath: config.dataCachePath }),
          warn: notify,
        }),
      )
    : Object.fromEntries(
        splitNames.map((name) => [
          name,
          createMockDataset({
            name,
            length: samples[name],
            sequenceLength: seqLength,
            vocabSize,
            seed,
            endOfDocument: eodId,
          }),
        ]),
      );
  const { resetPositionIds, resetAttentionMask, eodMaskLoss } = config;
  const open = (dataset: SampleDataset, consumedSamples: number) =>
    createBatchSource({
      ...{ dataset, microBatchSize, seqLength, consumedSamples, eodId },
      ...{ resetPositionIds, resetAttentionMask, eodMaskLoss },
    });
  const { train, valid, test } = datasets;
  if (!train)
    throw new DataError('the run has no training data', { remedy: 'Give the first weight of --split a value.' });
  return {
    train: (consumedSamples) => open(train, consumedSamples),
    ...(valid ? { validation: (consumedSamples) => open(valid, consumedSamples) } : {}),
    ...(test ? { test: () => open(test, 0) } : {}),
  };
}

/** One set of events that calls several, in order. */
function joinEvents(...all: readonly LoopEvents[]): LoopEvents {
  return {
    stepped: (step) => all.forEach((events) => events.stepped?.(step)),
    logged: (record) => all.forEach((events) => events.logged?.(record)),
    validating: (done, total) => all.forEach((events) => events.validating?.(done, total)),
    validated: (record) => all.forEach((events) => events.validated?.(record)),
    recorded: (log, validation) => all.forEach((events) => events.recorded?.(log, validation)),
    save: (progress) => all.forEach((events) => events.save?.(progress)),
  };
}
