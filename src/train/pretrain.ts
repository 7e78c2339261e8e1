/** `pretrain(modelProvider, datasetProvider, forwardStep)`: Megatron's driver, for any model made of our parameters. */

import { UsageError } from '../base/errors.ts';
import {
  type Attachment,
  type Checkpoint,
  type JsonObject,
  openCheckpoint,
  type TokenizerRecord,
} from '../checkpoint/index.ts';
import { AdamW, type AdamWOptions } from '../optim/adamw.ts';
import { type RankGrid, soloGrid } from '../parallel/grid.ts';
import type { Parameters } from '../parallel/parameters.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type ExitReason, type LoopEvents, type LoopOptions, trainLoop } from './loop.ts';
import { fullPrecision, type Precision, precisionRecord, savedLossScale } from './precision.ts';
import { newProgress } from './progress.ts';
import { refuseToMixRuns } from './save-folder.ts';
import type { BatchStream, ForwardStep, StagedForward, TrainTask } from './task.ts';
import { loadTraining, saveTraining } from './training-checkpoint.ts';

/** A model as the driver sees it. */
export interface TrainableModel {
  readonly parameters: Parameters;
}

/** The forward pass of a model: in one part, or in two once the model is there. */
export type ModelForward<Model, Batch> =
  | ((batch: Batch, model: Model, training: boolean) => Tensor)
  | { of(model: Model): StagedForward<Batch> };

/** Where micro-batches come from; validation and test are optional. */
export interface Datasets<Batch> {
  train(consumedSamples: number): BatchStream<Batch>;
  validation?(consumedSamples: number): BatchStream<Batch>;
  test?(): BatchStream<Batch>;
  /** Loss terms of a batch: what the loss is averaged over. */
  countTerms(batch: Batch): number;
}

export interface RunStart<Model> {
  readonly model: Model;
  /** 0 for a new run. */
  readonly iteration: number;
}

export interface PretrainOptions<Model>
  extends Omit<LoopOptions, 'saveInterval' | 'evalIters' | 'evalInterval' | 'lossScaling'> {
  readonly engine: Engine;
  /** This rank's place among all; a run of one rank where not given. Every rank calls `pretrain` alike. */
  readonly grid?: RankGrid;
  /** Seed of the initial values. */
  readonly seed: number;
  readonly adam: AdamWOptions;
  /** Default: the engine's float type, without loss scaling. */
  readonly precision?: Precision;
  readonly evalInterval?: number;
  readonly evalIters?: number;
  /** Folder for checkpoints; none are saved where not given. */
  readonly save?: string | undefined;
  /** Default: only at the end. */
  readonly saveInterval?: number;
  readonly saveRetain?: number | undefined;
  /** A checkpoint to go on from: a path, or one that is open already. */
  readonly load?: string | Checkpoint | undefined;
  /** What checkpoints say of the model and its data. */
  readonly identity?: RunIdentity;
  /** Called on rank 0 once the model is ready; what it returns hears all that happens. */
  readonly report?: (start: RunStart<Model>) => LoopEvents;
}

/** What travels in a checkpoint besides the numbers. */
export interface RunIdentity {
  readonly architecture: JsonObject;
  readonly tokenizer: TokenizerRecord | null;
  readonly attachments: readonly Attachment[];
  /** More of the training state. */
  readonly settings: JsonObject;
  readonly tokensPerSample: number;
}

const anonymous: RunIdentity = { architecture: {}, tokenizer: null, attachments: [], settings: {}, tokensPerSample: 1 };

export interface PretrainResult<Model> {
  readonly model: Model;
  readonly reason: ExitReason;
  readonly iteration: number;
}

/** @throws UsageError for what is neither one part nor two. */
function forwardStepOf<Model, Batch>(given: ModelForward<Model, Batch>, model: Model): ForwardStep<Batch> {
  const wrong = (what: string): UsageError =>
    new UsageError(`the forward step ${what}`, {
      remedy:
        'Give (batch, model, training) => the sum of the loss, or in two parts { of: (model) => ({ inputs, forward }) }.',
    });
  if (typeof given === 'function') {
    return (batch, training) => {
      const loss: unknown = given(batch, model, training);
      if (loss instanceof Tensor) return loss;
      throw wrong('returned no tensor');
    };
  }
  if (typeof given.of !== 'function') throw wrong('is neither a function nor has `of`');
  return given.of(model);
}

/**
 * Trains a model. The engine stays the caller's, the trained model lives in it until its parameters are disposed.
 *
 * @param modelProvider makes the model: declares its parameters and no more
 * @param datasetProvider opens the data
 * @param forwardStep the sum of a batch's loss terms, a scalar []; dropout only where `training`. One in two parts,
 *   `{ of: (model) => ({ inputs, forward }) }`, is recorded by a GPU once and done again at one call: see `StagedForward`.
 * @throws UsageError where the options do not fit each other; CheckpointError when `load` is missing, damaged or of another
 *   model, or `save` holds another run; DivergenceError when the loss is no number. The model's memory is then given back.
 */
export async function pretrain<Model extends TrainableModel, Batch>(
  modelProvider: () => Model,
  datasetProvider: (model: Model) => Datasets<Batch>,
  forwardStep: ModelForward<Model, Batch>,
  options: PretrainOptions<Model>,
): Promise<PretrainResult<Model>> {
  const { engine, save, identity = anonymous, grid = soloGrid(), precision = fullPrecision } = options;
  using resources = new DisposableStack();
  const { load } = options;
  const checkpoint = typeof load === 'string' ? resources.use(openCheckpoint(load)) : load;
  refuseToMixRuns(save, checkpoint);
  const model = modelProvider();
  const { parameters } = model;
  using unfinished = new DisposableStack();
  unfinished.use(parameters).allocate(engine, precision);
  const optimizer = resources.use(new AdamW(parameters, options.adam));
  const progress = newProgress();
  const state = { parameters, optimizer, progress };
  if (checkpoint) {
    loadTraining(checkpoint, state);
    progress.lossScale = savedLossScale(checkpoint, precision.lossScaling);
  } else parameters.initialize(options.seed);

  const datasets = datasetProvider(model);
  const task: TrainTask<Batch> = {
    engine,
    parameters,
    grid,
    trainBatches: (consumed) => datasets.train(consumed),
    validationBatches: (consumed) => datasets.validation?.(consumed),
    testBatches: () => datasets.test?.(),
    countTerms: (batch) => datasets.countTerms(batch),
    forwardStep: forwardStepOf(forwardStep, model),
  };
  const events = (grid.world.rank === 0 && options.report?.({ model, iteration: progress.iteration })) || {};
  const loop: LoopOptions = {
    ...options,
    lossScaling: precision.lossScaling,
    evalInterval: options.evalInterval ?? options.trainIters,
    evalIters: options.evalIters ?? 0,
    saveInterval: options.saveInterval ?? options.trainIters,
  };
  const reason = await trainLoop(task, optimizer, progress, loop, {
    ...events,
    save: () => {
      if (save === undefined) return;
      events.saving?.();
      const settings = { ...identity.settings, ...precisionRecord(precision, progress.lossScale) };
      const saved = saveTraining(state, grid, { ...identity, settings, folder: save, retain: options.saveRetain });
      if (saved) events.saved?.({ iteration: progress.iteration, folder: saved.folder, warnings: saved.warnings });
    },
  });
  unfinished.move(); // the model is the caller's now
  return { model, reason, iteration: progress.iteration };
}
