/** A rank that trains small GPTs and keeps all that another layout's run must have, too: what `launch` runs. */

import { createHash } from 'node:crypto';
import { flagName } from '../../../src/base/flag-name.ts';
import {
  beginCheckpoint,
  type CheckpointTensor,
  commitCheckpoint,
  type JsonObject,
  writeShard,
} from '../../../src/checkpoint/index.ts';
import type { Communicator } from '../../../src/comm/communicator.ts';
import type { RankFunction } from '../../../src/comm/rank.ts';
import { parseCommandLine } from '../../../src/config/command.ts';
import { isSized, pretrainGptCommand, type SizedGptConfig } from '../../../src/config/pretrain-gpt.ts';
import { recomputationOf } from '../../../src/config/recompute-flags.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import { AdamW } from '../../../src/optim/adamw.ts';
import { learningRateAt } from '../../../src/optim/learning-rate.ts';
import { initialLossScale, nextLossScale } from '../../../src/optim/loss-scale.ts';
import { createRankGrid, type RankGrid } from '../../../src/parallel/grid.ts';
import type { Parameter } from '../../../src/parallel/parameters.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { createCpuEngine } from '../../../src/tensor/engines/cpu.ts';
import { modelOfRun } from '../../../src/train/gpt-architecture.ts';
import { openGptDatasets } from '../../../src/train/gpt-datasets.ts';
import { gptLossSum } from '../../../src/train/gpt-loss.ts';
import { precisionOf } from '../../../src/train/precision.ts';
import { trainStep } from '../../../src/train/step.ts';
import { microBatchesPerRank } from '../../../src/train/task.ts';
import type { RunOptions } from '../tiny-run.ts';

/** A model and its data; the same in every layout. */
export interface ParityRun {
  /** `pretrain gpt` options by key, parallelism left out. */
  readonly options: RunOptions;
  /** Where its numbers go: a checkpoint with the initial weights, the gradients of step 1 and the weights at the end. */
  readonly folder: string;
}

export interface ParityWork {
  readonly tensorParallelSize: number;
  readonly runs: readonly ParityRun[];
}

/** What goes with the numbers. */
export interface ParityRecord {
  /** Of every iteration. */
  readonly losses: readonly number[];
  /** 0 where skipped. */
  readonly gradNorms: readonly number[];
  /** The iterations that each rank skipped, because gradients overflowed. */
  readonly skipped: readonly (readonly number[])[];
  /** Loss terms of each data-parallel rank in iteration 1. */
  readonly terms: readonly number[];
  /** Whether ranks that must hold the same numbers did so to the last bit, at the end. */
  readonly replicasAgree: boolean;
}

export async function parityRank(world: Communicator, { tensorParallelSize, runs }: ParityWork): Promise<void> {
  const grid = createRankGrid(world, tensorParallelSize);
  for (const run of runs) await trainAndKeep(grid, run);
}

const rank: RankFunction<ParityWork, void> = parityRank;
export default rank;

function configOf(options: RunOptions): SizedGptConfig {
  const words = Object.entries(options).flatMap(([key, value]) =>
    value === undefined || value === false ? [] : [`--${flagName(key)}`, ...(value === true ? [] : [String(value)])],
  );
  const line = parseCommandLine(pretrainGptCommand, words);
  if (line.help) throw new Error('no help was asked for');
  if (!isSized(line.config)) throw new Error('the micro-batch size is given');
  return line.config;
}

/** The parts of `pretrain`, so that the gradients can be seen. */
async function trainAndKeep(grid: RankGrid, { options, folder }: ParityRun): Promise<void> {
  const config = configOf(options);
  using engine = await createCpuEngine({ threads: 1 });
  trainOn(engine, grid, config, folder);
  const left = engine.memory.count().current;
  if (left > 0) throw new Error(`${left} bytes of tensors were never freed`);
}

function trainOn(engine: Engine, grid: RankGrid, config: SizedGptConfig, folder: string): void {
  const { vocabSize = 0, adamBeta1: beta1, adamBeta2: beta2, adamEps: epsilon, weightDecay, clipGrad } = config;
  const model = new GptModel(modelOfRun(config, vocabSize), grid.tensor, { recomputation: recomputationOf(config) });
  using parameters = model.parameters;
  const precision = precisionOf(config);
  parameters.allocate(engine, precision);
  parameters.initialize(config.seed);
  using optimizer = new AdamW(parameters, { beta1, beta2, epsilon, weightDecay });
  using datasets = openGptDatasets(config, {
    ...{ vocabSize, endOfDocument: vocabSize - 1, grid, engine: () => engine, notify: () => {} },
  });
  const stream = datasets.train(0);
  const terms: number[] = [];
  const task = {
    ...{ engine, grid, parameters },
    trainBatches: () => stream,
    validationBatches: () => undefined,
    testBatches: () => undefined,
    countTerms: (batch: Parameters<typeof datasets.countTerms>[0]) => {
      const count = datasets.countTerms(batch);
      terms.push(count);
      return count;
    },
    forwardStep: (batch: Parameters<typeof datasets.countTerms>[0], training: boolean) =>
      gptLossSum(engine, model, batch, training),
  };

  const kept: CheckpointTensor[] = [];
  const keep = (prefix: string, bytesOf: (parameter: Parameter) => Uint8Array): void => {
    for (const parameter of parameters.all) {
      const isOwn = parameter.spec.slice ? grid.data.rank === 0 : grid.world.rank === 0;
      if (!isOwn || parameter.shape.includes(0)) continue;
      const { shape, offset, spec } = parameter;
      const bytes = bytesOf(parameter).slice();
      kept.push({
        ...{ name: `${prefix}.${parameter.name}`, globalShape: spec.globalShape, offset, shape, dtype: 'F32' },
        data: () => bytes,
      });
    }
  };
  const gradientBytes = ({ value, stored }: Parameter): Uint8Array => {
    if (!value.grad) throw new Error('the parameters have no gradients');
    return value.grad.bytes.subarray(0, stored.bytes.length);
  };

  keep('initial', ({ stored }) => stored.bytes);
  const losses: number[] = [];
  const gradNorms: number[] = [];
  const count = microBatchesPerRank(config, grid);
  const { lossScaling } = precision;
  let scale = lossScaling && initialLossScale(lossScaling);
  const skipped: number[] = [];
  for (let iteration = 1; iteration <= config.trainIters; iteration++) {
    const learningRate = learningRateAt(config, iteration);
    const update = { learningRate, clipGrad, lossScale: scale?.scale };
    const { loss, gradNorm, overflowed } = trainStep(task, stream, count, optimizer, update);
    if (overflowed) skipped.push(iteration);
    if (lossScaling && scale) scale = nextLossScale(lossScaling, scale, overflowed);
    losses.push(loss);
    gradNorms.push(overflowed ? 0 : gradNorm);
    if (iteration === 1) keep('gradient', gradientBytes);
  }
  keep('final', ({ stored }) => stored.bytes);

  const ownTerms = terms.slice(0, count).reduce((sum, one) => sum + one, 0);
  const record: ParityRecord = {
    ...{
      losses,
      gradNorms,
      skipped: grid.world.exchange(skipped),
      terms: grid.data.exchange(ownTerms),
      replicasAgree: replicasAgree(grid, parameters.all),
    },
  };
  save(grid.world, folder, kept, { ...record } as unknown as JsonObject);
}

/** Data-parallel ranks hold the same parts, and all ranks hold what is not split. */
function replicasAgree({ data, world }: RankGrid, parameters: readonly Parameter[]): boolean {
  const digest = (list: readonly Parameter[]): string => {
    const hash = createHash('sha256');
    for (const { stored } of list) hash.update(stored.bytes);
    return hash.digest('hex');
  };
  const common = digest(parameters.filter(({ spec }) => !spec.slice));
  const agree = (group: Communicator, text: string): boolean => new Set(group.exchange(text)).size === 1;
  const [first, second] = [agree(data, digest(parameters)), agree(world, common)];
  return world.exchange(first && second).every(Boolean);
}

function save(world: Communicator, folder: string, tensors: CheckpointTensor[], trainingState: JsonObject): void {
  const draft = world.exchange(world.rank === 0 ? beginCheckpoint(folder, 0) : null)[0];
  if (!draft) throw new Error('rank 0 opened no folder');
  const shards = world.exchange(writeShard(draft, { rank: world.rank, worldSize: world.size }, tensors));
  if (world.rank === 0) {
    const meta = { consumedSamples: 0, consumedTokens: 0, architecture: {}, tokenizer: null, trainingState };
    commitCheckpoint(draft, shards, { meta });
  }
  world.barrier();
}
