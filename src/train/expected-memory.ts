/** The memory that a step of training will take, known before: one is run on the meta engine, where nothing is computed. */

import { simulatedCommunicator } from '../comm/simulated.ts';
import type { SizedGptConfig } from '../config/pretrain-gpt.ts';
import { recomputationOf } from '../config/recompute-flags.ts';
import type { MicroBatch } from '../data/gpt/batches.ts';
import type { GptConfig } from '../model/config.ts';
import { GptModel } from '../model/gpt.ts';
import type { Recomputation } from '../model/recomputation.ts';
import { AdamW } from '../optim/adamw.ts';
import type { RankGrid } from '../parallel/grid.ts';
import { type CachingAllocator, type MemoryKind, memoryKinds } from '../tensor/allocator.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Engine } from '../tensor/engine.ts';
import { createMetaEngine } from '../tensor/engines/meta.ts';
import type { CudaDevice } from '../tensor/launch.ts';
import { gptForward } from './gpt-loss.ts';
import { formatOf } from './precision.ts';
import { shareBatches } from './shared-batches.ts';
import { trainStep } from './step.ts';
import type { TrainTask } from './task.ts';

/** All that decides how much memory a rank's tensors take. Ranks of one layout take the same. */
export interface MemoryPlan {
  readonly model: GptConfig;
  readonly tensorParallelSize: number;
  readonly dataParallelSize: number;
  readonly microBatchSize: number;
  readonly seqLength: number;
  /** Of activations and of the copies of matrices; float32 where not given. */
  readonly computeType?: DType | undefined;
  /** None where not given. */
  readonly recomputation?: Recomputation | undefined;
  /** Whether batches say which document each token belongs to: `--reset-attention-mask`. */
  readonly resetAttentionMask?: boolean | undefined;
  /** The GPU that it runs on; the cpu engine where not given. */
  readonly gpu?: CudaDevice | undefined;
}

/** The plan of a run's rank. */
export function memoryPlanOf(
  config: SizedGptConfig,
  model: GptConfig,
  { tensor, data }: RankGrid,
  engine: Engine,
): MemoryPlan {
  const { microBatchSize, seqLength, resetAttentionMask } = config;
  return {
    ...{ model, tensorParallelSize: tensor.size, dataParallelSize: data.size, microBatchSize, seqLength },
    ...{ computeType: formatOf(config).computeType, recomputation: recomputationOf(config), resetAttentionMask },
    gpu: engine.backend.gpu?.device,
  };
}

/** Bytes. */
export interface PeakMemory {
  /** Most of each kind at once; the kinds need not have their peaks at the same time. */
  readonly byKind: Readonly<Record<MemoryKind, number>>;
  /** Most of all kinds at once. */
  readonly total: number;
  /** What the allocator has taken from the system: blocks that were freed wait there for their like. Decides what fits. */
  readonly held: number;
}

/** What an engine has counted. */
export function peakOf(memory: CachingAllocator): PeakMemory {
  const peaks = memoryKinds.map((kind) => [kind, memory.count(kind).peak] as const);
  return {
    byKind: Object.fromEntries(peaks) as Record<MemoryKind, number>,
    total: memory.count().peak,
    held: memory.held,
  };
}

/**
 * The peak of a rank's tensors in a training step: forward, backward with its buckets, gradient norm and AdamW, all as in a
 * real one. More steps, more micro-batches and evaluation take no more. Milliseconds, whatever the size.
 *
 * @throws UsageError where the layout cannot split the model.
 */
export function expectedPeak(plan: MemoryPlan): PeakMemory {
  const { tensorParallelSize, dataParallelSize, computeType, recomputation } = plan;
  using engine = createMetaEngine(plan);
  const grid: RankGrid = {
    world: simulatedCommunicator(0, tensorParallelSize * dataParallelSize, 'world'),
    tensor: simulatedCommunicator(0, tensorParallelSize, 'tensor group'),
    data: simulatedCommunicator(0, dataParallelSize, 'data group'),
  };
  const model = new GptModel(plan.model, grid.tensor, recomputation ? { recomputation } : {});
  using parameters = model.parameters;
  parameters.allocate(engine, computeType ? { computeType } : {});
  using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  const { microBatchSize, seqLength, resetAttentionMask = false } = plan;
  const stream = shareBatches({
    ...{ engine, group: grid.tensor, microBatchSize, seqLength, hasFirstKey: resetAttentionMask },
    ...{ consumedSamples: 0, samplesPerDraw: microBatchSize * dataParallelSize },
    open: () => ({ next: () => emptyBatch(plan), consumedSamples: 0 }),
  });
  const task: TrainTask<MicroBatch> = {
    ...{ engine, parameters, grid, trainBatches: () => stream, countTerms: () => 1 },
    ...{ validationBatches: () => undefined, testBatches: () => undefined },
    forwardStep: gptForward(model),
  };
  trainStep(task, stream, 1, optimizer, { learningRate: 0, clipGrad: 1 });
  return peakOf(engine.memory);
}

function emptyBatch({ microBatchSize, seqLength, resetAttentionMask }: MemoryPlan): MicroBatch {
  const ids = new Int32Array(microBatchSize * seqLength);
  return {
    ...{ microBatchSize, seqLength, tokens: ids, labels: ids, positionIds: ids, firstSample: 0 },
    lossMask: new Float32Array(ids.length),
    firstKey: resetAttentionMask ? ids : undefined,
  };
}
