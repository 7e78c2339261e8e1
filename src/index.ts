/**
 * megatron-ts as a library: tensors and operators with automatic differentiation, layers, data, `pretrain`, and ranks that
 * split a model or its data: `launch(4, new URL('./rank.ts', import.meta.url), data)`, see docs/parallelism.md.
 */

export { Tape } from './autograd/tape.ts';
export {
  CheckpointError,
  DataError,
  EngineError,
  MegatronError,
  ShapeError,
  UsageError,
} from './base/errors.ts';
export { type Checkpoint, listCheckpoints, openCheckpoint } from './checkpoint/index.ts';
export {
  allReduce,
  type CommStatistics,
  type Communicator,
  type Pending,
  type ReduceOperation,
} from './comm/communicator.ts';
export { CollectiveError, RankFailure } from './comm/errors.ts';
export { type LaunchOptions, launch } from './comm/launch.ts';
export { agreeToStop, type RankFunction, type RankRun } from './comm/rank.ts';
export { selfCommunicator } from './comm/self.ts';
export * from './data/index.ts';
export { type GenerateOptions, generateTokens } from './generate/generate.ts';
export type { SamplingOptions } from './generate/sampling.ts';
export { type GptArchitecture, type GptConfig, gptConfig } from './model/config.ts';
export { GptModel } from './model/gpt.ts';
export { KeyValueCache } from './model/key-value-cache.ts';
export { Embedding, LayerNorm, Linear } from './model/layers.ts';
export { type ForwardState, TransformerLayer } from './model/transformer-layer.ts';
export { add } from './ops/add/op.ts';
export { type AttentionOptions, attention, attentionWithCache } from './ops/attention/op.ts';
export { cast } from './ops/cast/op.ts';
export { crossEntropy } from './ops/cross-entropy/op.ts';
export { biasDropoutAdd, type DropoutAt, dropout } from './ops/dropout/op.ts';
export { embedding } from './ops/embedding/op.ts';
export { gelu } from './ops/gelu/op.ts';
export { layerNorm } from './ops/layer-norm/op.ts';
export { biasGelu, linear, linearGelu } from './ops/linear/op.ts';
export { matmul } from './ops/matmul/op.ts';
export { multiply } from './ops/multiply/op.ts';
export { reshape } from './ops/reshape/op.ts';
export { logSoftmax, softmax } from './ops/softmax/op.ts';
export { weightedSum } from './ops/weighted-sum/op.ts';
export { AdamW, type AdamWOptions } from './optim/adamw.ts';
export { clipFactor, gradientNorm } from './optim/gradient-norm.ts';
export { type LearningRateSchedule, learningRateAt } from './optim/learning-rate.ts';
export { GradientReducer } from './parallel/data-parallel.ts';
export { createRankGrid, type RankGrid, soloGrid } from './parallel/grid.ts';
export { ColumnParallelLinear, type LinearSize, RowParallelLinear } from './parallel/layers.ts';
export { copyToGroup, reduceFromGroup } from './parallel/mappings.ts';
export { type Parameter, type ParameterSpec, Parameters } from './parallel/parameters.ts';
export {
  VocabParallelEmbedding,
  type VocabularyPart,
  type VocabularySize,
  vocabParallelCrossEntropy,
} from './parallel/vocabulary.ts';
export { type Counter, counterShape, counterWords } from './tensor/counter.ts';
export type { Engine } from './tensor/engine.ts';
export { createEngine, type EngineOptions } from './tensor/engines/select.ts';
export { Tensor } from './tensor/tensor.ts';
export type { HostNumbers, InputTensors } from './train/batch-inputs.ts';
export { countLossTerms, gptForward, gptLossSum } from './train/gpt-loss.ts';
export type { ExitReason, LogRecord, LoopEvents, ValidationRecord } from './train/loop.ts';
export type { Precision } from './train/precision.ts';
export {
  type Datasets,
  type ModelForward,
  type PretrainOptions,
  type PretrainResult,
  pretrain,
  type RunIdentity,
  type RunStart,
  type TrainableModel,
} from './train/pretrain.ts';
export { DivergenceError } from './train/step.ts';
export type { BatchStream, StagedForward } from './train/task.ts';
export { loadWeights } from './train/training-checkpoint.ts';
