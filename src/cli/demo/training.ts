/** The demo's training run: `megatron pretrain gpt` with its own page, going on from its checkpoint. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, EngineError } from '../../base/errors.ts';
import { formatCount, formatDuration, formatInteger } from '../../base/format.ts';
import { progressBar, remainingMs } from '../../base/progress.ts';
import { hasCheckpoint, listCheckpoints } from '../../checkpoint/index.ts';
import { manifestName } from '../../checkpoint/manifest.ts';
import { launch } from '../../comm/launch.ts';
import { type PretrainGptConfig, pretrainGptCommand } from '../../config/pretrain-gpt.ts';
import type { LoopEvents } from '../../train/loop.ts';
import { readMetrics } from '../../train/report/index.ts';
import type { StageConsole } from './console.ts';
import { type ModelPlan, sizeOptions, validations } from './plan.ts';
import type { DataResult, TokenizerFilesOf } from './prepare.ts';
import type { DemoOutcome, EventLine } from './training-rank.ts';

export type TrainingResult = {
  readonly iteration: number;
  readonly firstLoss: number;
  /** Mean over the last logged updates. */
  readonly loss: number;
  /** Of held-out text; null where there was too little of it. */
  readonly validLoss: number | null;
  readonly tokens: number;
  /** In updates alone, over all runs. */
  readonly updateMs: number;
};

export interface TrainingOptions {
  readonly plan: ModelPlan;
  readonly data: DataResult;
  /** Folder of the demo. */
  readonly folder: string;
  readonly tokenizer: TokenizerFilesOf;
  readonly seed: number;
  readonly device: PretrainGptConfig['device'];
  readonly numThreads: number;
  readonly signal: AbortSignal;
}

/** The checkpoints' place, in the demo's folder. */
export const checkpointsName = 'checkpoints';

/** Checkpoints in one run: a kill at any moment costs a few seconds of work. */
const checkpoints = 10;

function trainingConfig(options: TrainingOptions): PretrainGptConfig {
  const { plan, data, folder, tokenizer, seed, device, numThreads } = options;
  const { trainIters, seqLength, microBatchSize, ranks } = plan;
  const every = (times: number): number => Math.max(1, Math.round(trainIters / times));
  const batchTokens = seqLength * microBatchSize;
  const logInterval = every(10 * validations);
  // Validations fall on logged updates, so that every point of the curve is a mean over equally many.
  const evalInterval = Math.ceil(Math.max(20, every(validations)) / logInterval) * logInterval;
  const { config } = pretrainGptCommand.configure({
    ...sizeOptions(plan),
    ...{ trainIters, seed, device },
    // two ranks show what this project is about: each computes half of every layer
    ...{ nprocPerNode: ranks, tensorModelParallelSize: ranks, numThreads: Math.max(1, Math.floor(numThreads / ranks)) },
    ...{ minLr: plan.lr / 20, lrDecayStyle: 'cosine', lrWarmupIters: Math.min(50, Math.floor(trainIters / 10)) },
    // A model this small sees hardly any text twice: dropout would only slow it down.
    ...{ attentionDropout: 0, hiddenDropout: 0, weightDecay: 0.1, adamBeta2: 0.95 },
    ...{ dataPath: [join(folder, data.prefix)], dataCachePath: join(folder, 'data', 'cache'), split: data.split },
    ...{ tokenizerType: 'GPT2BPETokenizer', vocabFile: tokenizer.vocabFile, mergeFile: tokenizer.mergeFile },
    // Each validation reads all of the held-out part once.
    evalIters: Math.floor(data.validTokens / batchTokens),
    ...{ evalInterval, logInterval },
    ...(plan.mostMinutes > 0 ? { exitDurationInMins: plan.mostMinutes } : {}),
    ...{ save: join(folder, checkpointsName), saveInterval: every(checkpoints), saveRetain: 2 },
  });
  return config;
}

/** Trains, or trains on. @throws what the signal was aborted with, after the state is saved. */
export async function trainDemo(options: TrainingOptions, page: StageConsole): Promise<TrainingResult> {
  const config = trainingConfig(options);
  const save = join(options.folder, checkpointsName);
  const load = hasCheckpoint(save) ? loadable(save, page) : undefined;
  const run = load === undefined ? config : { ...config, load };
  const { reason, iteration } = await trainOnRanks(run, options.signal, liveEvents(config, page));
  options.signal.throwIfAborted();
  if (reason === 'exit duration') {
    page.notice(
      `stopped after update ${formatInteger(iteration)}: this machine became slower than it was when measured`,
    );
  }
  return trainingResult(options);
}

/** The ranks are threads that share every layer; what rank 0 writes are the events of its loop, one a line. */
async function trainOnRanks(config: PretrainGptConfig, signal: AbortSignal, events: LoopEvents): Promise<DemoOutcome> {
  let rest = '';
  const decoder = new TextDecoder();
  const stdout = {
    write(bytes: Uint8Array) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) dispatch(JSON.parse(line) as EventLine, events);
    },
  };
  // the sources run as .ts and the package as .js
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const module = new URL(`./training-rank.${extension}`, import.meta.url);
  const options = { signal, stdout, threadsPerRank: config.numThreads };
  const [outcome] = await launch<DemoOutcome>(config.nprocPerNode, module, config, options);
  if (!outcome) throw new EngineError('the demo has trained on no rank');
  return outcome;
}

function dispatch(line: EventLine, events: LoopEvents): void {
  if (line.name === 'stepped') events.stepped?.(...line.values);
  else if (line.name === 'validating') events.validating?.(...line.values);
  else events.saved?.(...line.values);
}

/** The folder, or the last sound checkpoint in it. @throws CheckpointError where there is none. */
function loadable(save: string, page: StageConsole): string {
  const listed = listCheckpoints(save);
  const latest = listed.find((checkpoint) => checkpoint.latest) ?? listed.at(-1);
  const sound = listed.filter(({ problem }) => problem === undefined).at(-1);
  if (sound === undefined) {
    throw new CheckpointError(`no checkpoint in ${save} can be loaded: ${latest?.problem ?? 'there is none'}`, {
      remedy: 'Add --restart to begin the demo anew.',
    });
  }
  if (latest !== undefined && latest.problem !== undefined) {
    page.notice(`the checkpoint of update ${latest.iteration} is damaged (${latest.problem})`);
  }
  page.notice(`going on after update ${formatInteger(sound.iteration)}`);
  return sound === latest ? save : sound.folder;
}

/** The live line: 400/900 updates, loss, tokens/s, ETA. */
function liveEvents(config: PretrainGptConfig, page: StageConsole): LoopEvents {
  const { trainIters, globalBatchSize, seqLength } = config;
  const start = performance.now();
  let startedAt: number | undefined;
  let updateMs = 0;
  let smoothed: number | undefined;
  let speed = '';
  return {
    stepped: ({ iteration, loss, elapsedMs }) => {
      startedAt ??= iteration - 1;
      updateMs += elapsedMs;
      smoothed = smoothed === undefined ? loss : 0.9 * smoothed + 0.1 * loss;
      const done = iteration - startedAt;
      const rate = (done * globalBatchSize * seqLength * 1000) / updateMs;
      speed = `loss ${smoothed.toFixed(3)}  ${formatCount(rate)} tokens/s`;
      page.update(() => {
        const wall = { done: iteration, total: trainIters, startedAt: startedAt ?? 0 };
        const left = remainingMs({ ...wall, elapsedMs: performance.now() - start });
        const bar = progressBar(iteration / trainIters, 14);
        return `${bar} ${iteration}/${trainIters}  ${speed}  ETA ${formatDuration(left)}`;
      });
    },
    validating: (done, total) => page.update(() => `${speed}  on held-out text: ${done}/${total}`),
    saved: ({ warnings }) => {
      for (const warning of warnings) page.notice(`warning: ${warning}`);
    },
  };
}

/** What is missing of the figures of the updates that the checkpoint has seen: without them there is no curve to show. */
export function lostMetrics(options: TrainingOptions): string | undefined {
  const save = join(options.folder, checkpointsName);
  const reached = hasCheckpoint(save)
    ? listCheckpoints(save).findLast(({ problem }) => problem === undefined)
    : undefined;
  const { logInterval } = trainingConfig(options);
  if (reached === undefined || reached.iteration < logInterval) return undefined;
  const name = 'metrics.jsonl';
  if (!existsSync(join(save, name))) return `${join(checkpointsName, name)} is missing`;
  const metrics = readMetrics(join(save, name));
  const [first, last] = [metrics[0]?.iteration ?? Number.POSITIVE_INFINITY, metrics.at(-1)?.iteration ?? 0];
  const complete = first <= logInterval && last > reached.iteration - logInterval;
  return complete ? undefined : `${join(checkpointsName, name)} lacks updates that the checkpoint has seen`;
}

function trainingResult({ folder, plan }: TrainingOptions): TrainingResult {
  const metrics = readMetrics(join(folder, checkpointsName, 'metrics.jsonl'));
  const last = metrics.at(-1);
  const validated = metrics.filter(({ validLoss }) => validLoss !== undefined).at(-1);
  let updateMs = 0;
  metrics.forEach(({ iteration, elapsedMs }, index) => {
    updateMs += elapsedMs * (iteration - (metrics[index - 1]?.iteration ?? 0));
  });
  return {
    iteration: last?.iteration ?? plan.trainIters,
    firstLoss: metrics[0]?.lmLoss ?? Number.NaN,
    loss: last?.lmLoss ?? Number.NaN,
    validLoss: validated?.validLoss ?? null,
    tokens: last?.consumedTokens ?? 0,
    updateMs: Math.round(updateMs),
  };
}

/** Files by which the finished training is known again, as paths inside the demo's folder. */
export function trainingFiles(folder: string): string[] {
  const latest = listCheckpoints(join(folder, checkpointsName)).find((checkpoint) => checkpoint.latest);
  const manifest = latest === undefined ? [] : [join(checkpointsName, iterationName(latest.folder), manifestName)];
  return [...manifest, join(checkpointsName, 'metrics.jsonl')];
}

const iterationName = (folder: string): string => folder.split(/[\\/]/).at(-1) ?? folder;
