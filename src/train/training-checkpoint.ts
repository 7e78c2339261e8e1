/** Between a run's state and a checkpoint: weights, optimizer and progress, by global name. */

import { CheckpointError } from '../base/errors.ts';
import {
  type Attachment,
  abandonCheckpoint,
  beginCheckpoint,
  type Checkpoint,
  type CheckpointTensor,
  type CommitOptions,
  commitCheckpoint,
  type JsonObject,
  type SavedCheckpoint,
  type StoredDtype,
  type TokenizerRecord,
  writeShard,
} from '../checkpoint/index.ts';
import type { AdamW, ParameterState } from '../optim/adamw.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Parameter, Parameters } from '../parallel/parameters.ts';
import { agreedValue } from '../parallel/scalars.ts';
import { type DType, rawBytes } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Progress } from './progress.ts';

const storedDtypes: Record<DType, StoredDtype> = { f64: 'F64', f32: 'F32', bf16: 'BF16', f16: 'F16', i32: 'I32' };

export interface TrainingState {
  readonly parameters: Parameters;
  readonly optimizer: AdamW;
  readonly progress: Progress;
}

export interface TrainingCheckpointOptions {
  /** The `--save` folder. */
  readonly folder: string;
  readonly retain: number | undefined;
  readonly architecture: JsonObject;
  readonly tokenizer: TokenizerRecord | null;
  readonly attachments?: readonly Attachment[];
  readonly tokensPerSample: number;
  /** More to keep in the training state. */
  readonly settings: JsonObject;
}

/**
 * Saves everything a run needs to go on exactly where it is: rank 0 opens a hidden folder, every rank writes what it alone
 * holds, rank 0 commits. Collective over the world.
 *
 * @returns undefined on the other ranks
 */
export function saveTraining(
  state: TrainingState,
  grid: RankGrid,
  options: TrainingCheckpointOptions,
): SavedCheckpoint | undefined {
  const { world } = grid;
  const { iteration } = state.progress;
  const draft = agreedValue(world, 0, world.rank === 0 ? beginCheckpoint(options.folder, iteration) : null);
  if (!draft) throw new CheckpointError('rank 0 opened no checkpoint');
  try {
    using states = state.optimizer.states();
    const tensors = ownTensors(state.parameters, states.list, grid);
    const shards = world.exchange(writeShard(draft, { rank: world.rank, worldSize: world.size }, tensors));
    const saved = world.rank === 0 ? commitCheckpoint(draft, shards, commitOptions(state, options)) : undefined;
    world.barrier();
    return saved;
  } catch (error) {
    if (world.rank === 0) abandonCheckpoint(draft);
    throw error;
  }
}

function commitOptions(state: TrainingState, options: TrainingCheckpointOptions): CommitOptions {
  const { optimizer, progress } = state;
  const { consumedSamples, lossSum, lossCount, skippedIterations, skippedCount } = progress;
  return {
    retain: options.retain,
    ...(options.attachments ? { attachments: options.attachments } : {}),
    meta: {
      consumedSamples,
      consumedTokens: consumedSamples * options.tokensPerSample,
      architecture: options.architecture,
      tokenizer: options.tokenizer,
      trainingState: {
        ...options.settings,
        ...{ optimizerSteps: optimizer.steps, lossSum, lossCount, skippedIterations, skippedCount },
      },
    },
  };
}

/** What this rank saves: its parts of split parameters, on the first data-parallel rank; what all hold, on rank 0. */
function ownTensors(
  parameters: Parameters,
  states: readonly ParameterState[],
  { world, data }: RankGrid,
): CheckpointTensor[] {
  const isOwn = ({ spec, shape }: Parameter): boolean =>
    (spec.slice ? data.rank === 0 : world.rank === 0) && !shape.includes(0);
  return [
    ...parameters.all.filter(isOwn).map((parameter) => sliceOf(parameter, parameter.name, 'model', parameter.stored)),
    ...states
      .filter(({ parameter }) => isOwn(parameter))
      .map(({ parameter, name, tensor }) => sliceOf(parameter, optimizerName(name, parameter), 'optimizer', tensor)),
  ];
}

const optimizerPrefix = 'optimizer.';
const optimizerName = (state: ParameterState['name'], parameter: Parameter): string =>
  `${optimizerPrefix}${state}.${parameter.name}`;

function sliceOf(parameter: Parameter, name: string, kind: 'model' | 'optimizer', tensor: Tensor): CheckpointTensor {
  return {
    name,
    kind,
    globalShape: parameter.spec.globalShape,
    offset: parameter.offset,
    shape: parameter.shape,
    dtype: storedDtypes[tensor.dtype],
    data: () => rawBytes(tensor.read()),
  };
}

function readTensor(checkpoint: Checkpoint, parameter: Parameter, name: string, tensor: Tensor): void {
  const { offset, shape, spec } = parameter;
  if (shape.includes(0)) return; // nothing of a short vocabulary falls to this rank
  const request = { offset, shape, dtype: storedDtypes[tensor.dtype], globalShape: spec.globalShape };
  tensor.writeBytes((bytes) => checkpoint.readInto(name, request, bytes));
}

/**
 * Fills the weights alone, and makes their 16-bit copies: for evaluation, generation and fine-tuning.
 *
 * @throws CheckpointError when the checkpoint has other parameters than the model, or is damaged.
 */
export function loadWeights(checkpoint: Checkpoint, parameters: Parameters): void {
  const known = new Set(parameters.all.map(({ name }) => name));
  const strange = checkpoint.names().filter((name) => !name.startsWith(optimizerPrefix) && !known.has(name));
  if (strange.length > 0) {
    throw new CheckpointError(
      `the checkpoint ${checkpoint.folder} has parameters that the model lacks: ${strange.join(', ')}`,
      { remedy: 'It is of another model: load one of this model.' },
    );
  }
  for (const parameter of parameters.all) readTensor(checkpoint, parameter, parameter.name, parameter.stored);
  parameters.refreshCopies();
}

/** Fills weights, optimizer and progress. @throws CheckpointError when a part is missing or damaged. */
export function loadTraining(checkpoint: Checkpoint, state: TrainingState): void {
  loadWeights(checkpoint, state.parameters);
  using states = state.optimizer.states();
  for (const { parameter, name, tensor } of states.list) {
    readTensor(checkpoint, parameter, optimizerName(name, parameter), tensor);
  }
  const { iteration, consumedSamples, trainingState } = checkpoint.manifest;
  const number = (key: string, missing?: number): number => {
    const value = trainingState[key] ?? missing;
    if (typeof value === 'number') return value;
    throw new CheckpointError(`the checkpoint ${checkpoint.folder} has no ${key} in its training state`, {
      remedy: 'It was not saved by a training run; load another one.',
    });
  };
  state.optimizer.steps = number('optimizerSteps');
  Object.assign(state.progress, {
    iteration,
    consumedSamples,
    lossSum: number('lossSum'),
    lossCount: number('lossCount'),
    // a run of float32 skips nothing, and once did not say so
    skippedIterations: number('skippedIterations', 0),
    skippedCount: number('skippedCount', 0),
  });
}
