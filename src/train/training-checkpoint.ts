/** Between a run's state and a checkpoint: weights, optimizer and progress, by global name. */

import { CheckpointError } from '../base/errors.ts';
import {
  type Attachment,
  type Checkpoint,
  type CheckpointTensor,
  type JsonObject,
  type SavedCheckpoint,
  type StoredDtype,
  saveCheckpoint,
  type TokenizerRecord,
} from '../checkpoint/index.ts';
import type { AdamW, ParameterState } from '../optim/adamw.ts';
import type { Parameter, Parameters } from '../parallel/parameters.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Progress } from './loop.ts';

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

/** Saves everything a run needs to go on exactly where it is. */
export function saveTraining(state: TrainingState, options: TrainingCheckpointOptions): SavedCheckpoint {
  const { parameters, optimizer, progress } = state;
  const { iteration, consumedSamples, lossSum, lossCount } = progress;
  using states = optimizer.states();
  return saveCheckpoint({
    folder: options.folder,
    iteration,
    retain: options.retain,
    tensors: checkpointTensors(parameters, states.list),
    ...(options.attachments ? { attachments: options.attachments } : {}),
    meta: {
      consumedSamples,
      consumedTokens: consumedSamples * options.tokensPerSample,
      architecture: options.architecture,
      tokenizer: options.tokenizer,
      trainingState: { ...options.settings, optimizerSteps: optimizer.steps, lossSum, lossCount },
    },
  });
}

function checkpointTensors(parameters: Parameters, states: readonly ParameterState[]): CheckpointTensor[] {
  return [
    ...parameters.all.map((parameter) => sliceOf(parameter, parameter.name, 'model', parameter.stored)),
    ...states.map(({ parameter, name, tensor }) =>
      sliceOf(parameter, optimizerName(name, parameter), 'optimizer', tensor),
    ),
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
    data: () => tensor.bytes,
  };
}

function readTensor(checkpoint: Checkpoint, parameter: Parameter, name: string, tensor: Tensor): void {
  const { offset, shape, spec } = parameter;
  const request = { offset, shape, dtype: storedDtypes[tensor.dtype], globalShape: spec.globalShape };
  checkpoint.readInto(name, request, tensor.bytes);
}

/**
 * Fills the weights alone: for evaluation, generation and fine-tuning.
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
}

/** Fills weights, optimizer and progress. @throws CheckpointError when a part is missing or damaged. */
export function loadTraining(checkpoint: Checkpoint, state: TrainingState): void {
  loadWeights(checkpoint, state.parameters);
  using states = state.optimizer.states();
  for (const { parameter, name, tensor } of states.list) {
    readTensor(checkpoint, parameter, optimizerName(name, parameter), tensor);
  }
  const { iteration, consumedSamples, trainingState } = checkpoint.manifest;
  const number = (key: string): number => {
    const value = trainingState[key];
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
  });
}
