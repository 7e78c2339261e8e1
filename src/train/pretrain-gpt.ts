/** `megatron pretrain gpt`: from a configuration to a trained model. */

import { expectWritable } from '../base/files.ts';
import { formatInteger } from '../base/format.ts';
import type { ProgressStream } from '../base/progress.ts';
import { openCheckpoint } from '../checkpoint/index.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import { recomputationOf } from '../config/recompute-flags.ts';
import { tokenizerSource } from '../config/shared-flags.ts';
import { createTokenizer, type Tokenizer } from '../data/index.ts';
import { type GptConfig, paddedVocabSize } from '../model/config.ts';
import { GptModel } from '../model/gpt.ts';
import { createRankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { createEngine } from '../tensor/engines/select.ts';
import { changedOrderWords, dataOrderRecord } from './data-order.ts';
import { architectureRecord, assertSameArchitecture, modelOfRun } from './gpt-architecture.ts';
import { openGptDatasets } from './gpt-datasets.ts';
import { gptLossSum } from './gpt-loss.ts';
import type { ExitReason, LoopEvents, StopSignal } from './loop.ts';
import { changedPrecisionWords, precisionOf, precisionWords } from './precision.ts';
import { pretrain, type RunIdentity, type RunStart } from './pretrain.ts';
import { Profiler } from './profile/profiler.ts';
import { expectedMemory, measuredMemory } from './rank-report.ts';
import { hardwareFlopsPerToken, modelFlopsPerToken, palmFlopsPerToken } from './report/flops.ts';
import { closingWords, createRunReport, type RunReport } from './run-report.ts';
import { refuseToMixRuns } from './save-folder.ts';
import { checkBatchSizes } from './task.ts';
import { assertSameTokenizer, portableSource, tokenizerAttachments, tokenizerRecord } from './tokenizer-files.ts';

export interface PretrainStreams {
  readonly stdout: ProgressStream;
  readonly stderr: ProgressStream;
  /** Asks for an orderly end. */
  readonly signal?: StopSignal;
  /** Told besides the run's own reports. */
  readonly events?: LoopEvents;
  /** Megatron's log lines; default true. */
  readonly logLines?: boolean;
}

/**
 * Runs on every rank alike; rank 0 speaks.
 *
 * @param world all ranks of the run; this one alone where not given
 * @throws MegatronError of the kind that fits, before anything is written where the configuration cannot work.
 */
export async function pretrainGpt(
  config: PretrainGptConfig,
  streams: PretrainStreams,
  world: Communicator = selfCommunicator(),
): Promise<{ readonly reason: ExitReason; readonly iteration: number }> {
  const startedAt = performance.now();
  const speaks = world.rank === 0;
  const notify = (message: string): void => void (speaks && streams.stderr.write(`${message}\n`));
  using resources = new DisposableStack();
  let report: RunReport | undefined;
  const profiler = profilerOf(config, world, (line) => report?.note(line));
  const grid = createRankGrid(profiler?.watch(world) ?? world, config.tensorModelParallelSize);
  checkBatchSizes(config, grid);
  const precision = precisionOf(config);
  const checkpoint = config.load === undefined ? undefined : resources.use(openCheckpoint(config.load));
  refuseToMixRuns(config.save, checkpoint);
  const tokenizer = config.vocabSize === undefined ? createTokenizer(tokenizerSource(config)) : undefined;
  const modelConfig = modelOfRun(config, config.vocabSize ?? tokenizer?.vocabSize ?? 0);
  if (checkpoint) {
    assertSameTokenizer(checkpoint, tokenizer);
    assertSameArchitecture(checkpoint, modelConfig);
    const changed = changedOrderWords(checkpoint, config);
    if (changed) notify(changed);
    const otherPrecision = changedPrecisionWords(checkpoint, precision);
    if (otherPrecision) notify(otherPrecision);
  }
  const { device, numThreads: threads, weightDecay, microBatchSize, seqLength } = config;
  const datasets = resources.use(
    openGptDatasets(config, {
      ...{ vocabSize: modelConfig.vocabSize, endOfDocument: tokenizer?.endOfDocument, grid, notify },
      engine: () => engine,
    }),
  );
  const engine = resources.use(await createEngine({ device, threads, notify }));
  profiler?.attach(engine, grid);

  const { adamBeta1: beta1, adamBeta2: beta2, adamEps: epsilon } = config;
  const { model, reason, iteration } = await pretrain(
    () => new GptModel(modelConfig, grid.tensor, { recomputation: recomputationOf(config) }),
    (model) => {
      const lines = world.size > 1 ? expectedMemory(grid, model, microBatchSize, seqLength) : [];
      for (const line of lines) notify(line);
      return datasets;
    },
    (batch, model, training) => gptLossSum(engine, model, batch, training),
    {
      ...config,
      engine,
      grid,
      profiler,
      precision,
      adam: { beta1, beta2, epsilon, weightDecay },
      signal: streams.signal,
      load: checkpoint,
      identity: runIdentity(config, modelConfig, tokenizer),
      report: (start) => {
        report = resources.use(openReport(config, modelConfig, engine, start, streams));
        return joinEvents(report.events, streams.events ?? {});
      },
    },
  );
  resources.use(model.parameters);
  profiler?.finish();
  for (const line of world.size > 1 ? measuredMemory(grid, engine) : []) report?.note(line);
  report?.note(closingWords(reason, iteration, startedAt, config.save, engine));
  return { reason, iteration };
}

/** @throws MegatronError before anything else is done where the trace could not be written. */
function profilerOf(config: PretrainGptConfig, world: Communicator, note: (line: string) => void) {
  const { profile, profileStepStart: stepStart, profileStepEnd: stepEnd, trainIters } = config;
  if (profile === undefined) return undefined;
  if (world.rank === 0) expectWritable(profile);
  return new Profiler({ file: profile, stepStart, stepEnd, trainIters, note });
}

function runIdentity(config: PretrainGptConfig, model: GptConfig, tokenizer: Tokenizer | undefined): RunIdentity {
  const source = tokenizer && tokenizerSource(config);
  return {
    architecture: architectureRecord(model),
    tokenizer: tokenizer ? tokenizerRecord(tokenizer) : null,
    attachments: source ? tokenizerAttachments(source) : [],
    settings: { dataOrder: dataOrderRecord(config), ...(source ? { tokenizerSource: portableSource(source) } : {}) },
    tokensPerSample: config.seqLength,
  };
}

function openReport(
  config: PretrainGptConfig,
  modelConfig: GptConfig,
  engine: Engine,
  { model, iteration }: RunStart<GptModel>,
  streams: PretrainStreams,
): RunReport {
  const { numLayers, hiddenSize, seqLength: sequenceLength } = config;
  const shape = { numLayers, hiddenSize, sequenceLength };
  const computed = { ...shape, vocabularySize: paddedVocabSize(modelConfig) };
  const parameterCount = model.parameters.count;
  const report = createRunReport({
    engine,
    trainIters: config.trainIters,
    globalBatchSize: config.globalBatchSize,
    tokensPerSample: sequenceLength,
    modelFlopsPerToken: modelFlopsPerToken(computed),
    palmFlopsPerToken: palmFlopsPerToken({ ...shape, parameterCount }),
    ...(model.recomputation.granularity === 'none'
      ? {}
      : { hardwareFlopsPerToken: hardwareFlopsPerToken(computed, model.recomputedWork) }),
    startIteration: iteration,
    save: config.save,
    tensorboardDir: config.tensorboardDir,
    ...streams,
  });
  report.note(`engine: ${engine.backend.description}; ${precisionWords(precisionOf(config))}`);
  const size = `${formatInteger(parameterCount)} parameters, vocabulary ${formatInteger(modelConfig.vocabSize)}`;
  report.note(`model: ${size}`);
  if (iteration > 0) report.note(`going on after iteration ${iteration}`);
  return report;
}

/** One set of events that calls several, in order. */
function joinEvents(...all: readonly LoopEvents[]): LoopEvents {
  const tell = (call: (events: LoopEvents) => void): void => {
    for (const events of all) call(events);
  };
  return {
    stepped: (step) => tell((events) => events.stepped?.(step)),
    skipped: (step) => tell((events) => events.skipped?.(step)),
    logged: (record) => tell((events) => events.logged?.(record)),
    validating: (done, total) => tell((events) => events.validating?.(done, total)),
    validated: (record) => tell((events) => events.validated?.(record)),
    recorded: (log, validation) => tell((events) => events.recorded?.(log, validation)),
    saving: () => tell((events) => events.saving?.()),
    saved: (saved) => tell((events) => events.saved?.(saved)),
  };
}
