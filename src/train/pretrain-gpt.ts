/** `megatron pretrain gpt`: from a configuration to a trained model. */

import { expectWritable } from '../base/files.ts';
import { formatInteger } from '../base/format.ts';
import type { ProgressStream } from '../base/progress.ts';
import { openCheckpoint } from '../checkpoint/index.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';
import { isSized, type PretrainGptConfig, type SizedGptConfig } from '../config/pretrain-gpt.ts';
import { recomputationOf } from '../config/recompute-flags.ts';
import { tokenizerSource } from '../config/shared-flags.ts';
import { createTokenizer, type Tokenizer } from '../data/index.ts';
import { type GptConfig, paddedVocabSize } from '../model/config.ts';
import { GptModel } from '../model/gpt.ts';
import { createRankGrid, type RankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { createEngine } from '../tensor/engines/select.ts';
import { changedOrderWords, dataOrderRecord } from './data-order.ts';
import { expectedPeak, memoryPlanOf } from './expected-memory.ts';
import { architectureRecord, assertSameArchitecture, modelOfRun } from './gpt-architecture.ts';
import { openGptDatasets } from './gpt-datasets.ts';
import { gptForward } from './gpt-loss.ts';
import type { ExitReason, LoopEvents, StopSignal } from './loop.ts';
import { chooseMicroBatchSize, memoryForEachRank } from './micro-batch-size.ts';
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
  given: PretrainGptConfig,
  streams: PretrainStreams,
  world: Communicator = selfCommunicator(),
): Promise<{ readonly reason: ExitReason; readonly iteration: number }> {
  const startedAt = performance.now();
  const speaks = world.rank === 0;
  const notify = (message: string): void => void (speaks && streams.stderr.write(`${message}\n`));
  using resources = new DisposableStack();
  let report: RunReport | undefined;
  const profiler = profilerOf(given, world, (line) => report?.note(line));
  const grid = createRankGrid(profiler?.watch(world) ?? world, given.tensorModelParallelSize);
  checkBatchSizes(isSized(given) ? given : { ...given, microBatchSize: 1 }, grid);
  const precision = precisionOf(given);
  const checkpoint = given.load === undefined ? undefined : resources.use(openCheckpoint(given.load));
  refuseToMixRuns(given.save, checkpoint);
  const tokenizer = given.vocabSize === undefined ? createTokenizer(tokenizerSource(given)) : undefined;
  const modelConfig = modelOfRun(given, given.vocabSize ?? tokenizer?.vocabSize ?? 0);
  if (checkpoint) {
    assertSameTokenizer(checkpoint, tokenizer);
    assertSameArchitecture(checkpoint, modelConfig);
    const changed = changedOrderWords(checkpoint, given);
    if (changed) notify(changed);
    const otherPrecision = changedPrecisionWords(checkpoint, precision);
    if (otherPrecision) notify(otherPrecision);
  }
  const { device, numThreads: threads, weightDecay } = given;
  const engine = resources.use(await createEngine({ device, threads, notify }));
  const config = sizedConfig(given, modelConfig, grid, engine, notify);
  const datasets = resources.use(
    openGptDatasets(config, {
      ...{ vocabSize: modelConfig.vocabSize, endOfDocument: tokenizer?.endOfDocument, grid, notify },
      engine: () => engine,
    }),
  );
  profiler?.attach(engine, grid, precision.computeType);

  const { adamBeta1: beta1, adamBeta2: beta2, adamEps: epsilon } = config;
  const { model, reason, iteration } = await pretrain(
    () => new GptModel(modelConfig, grid.tensor, { recomputation: recomputationOf(config) }),
    () => datasets,
    { of: gptForward },
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
        report = resources.use(openReport(config, modelConfig, grid, engine, start, streams));
        return joinEvents(report.events, streams.events ?? {});
      },
    },
  );
  resources.use(model.parameters);
  profiler?.finish();
  for (const line of world.size > 1 ? measuredMemory(grid, engine) : []) report?.note(line);
  report?.note(closingWords(reason, iteration, startedAt, config.save, engine));
  // before the engine, whose streams they use; after an error others may not come along, and the process' end does it
  for (const group of [grid.tensor, grid.data]) group[Symbol.dispose]();
  return { reason, iteration };
}

/** With a micro-batch size chosen where none was given, and told. Collective. */
function sizedConfig(
  given: PretrainGptConfig,
  model: GptConfig,
  grid: RankGrid,
  engine: Engine,
  notify: (message: string) => void,
): SizedGptConfig {
  if (isSized(given)) return given;
  const { microBatchSize, words } = chooseMicroBatchSize(
    given,
    model,
    grid,
    engine,
    memoryForEachRank(given, grid, engine),
  );
  notify(words);
  return { ...given, microBatchSize };
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
  config: SizedGptConfig,
  modelConfig: GptConfig,
  grid: RankGrid,
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
  report.note(expectedMemory(expectedPeak(memoryPlanOf(config, modelConfig, grid, engine)), model, grid));
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
