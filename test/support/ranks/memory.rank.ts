/** A rank that builds GPTs, trains each for a step, and counts the bytes. */

import type { RankFunction } from '../../../src/comm/rank.ts';
import { type GptConfig, gptConfig } from '../../../src/model/config.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import type { Recomputation } from '../../../src/model/recomputation.ts';
import { AdamW } from '../../../src/optim/adamw.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';
import type { MemoryKind } from '../../../src/tensor/allocator.ts';
import { createCpuEngine } from '../../../src/tensor/engines/cpu.ts';
import { gptForward } from '../../../src/train/gpt-loss.ts';
import { trainStep } from '../../../src/train/step.ts';
import { expectedActivationBytes } from '../activation-formula.ts';
import { integers } from '../numbers.ts';

export type SizedModel = Parameters<typeof gptConfig>[0];

export interface MemoryWork {
  readonly model: SizedModel;
  readonly batch: number;
  readonly sequence: number;
  readonly recomputation?: Recomputation;
}

export interface MemoryFound {
  /** Bytes in use after a step, by kind. */
  readonly current: Readonly<Record<MemoryKind, number>>;
  /** Peak of the step. */
  readonly activations: number;
  readonly expectedActivations: number;
  /** Elements of this rank's flat buffers: [split, replicated], as the model declares its parameters. */
  readonly elements: readonly [number, number];
  /** Flat buffers: a block of memory each. */
  readonly groups: number;
}

const rank: RankFunction<readonly MemoryWork[], MemoryFound[]> = async (world, work) => {
  const grid = createRankGrid(world, world.size);
  const found: MemoryFound[] = [];
  for (const { model: sizes, batch, sequence, recomputation } of work) {
    using engine = await createCpuEngine({ threads: 1 });
    const config: GptConfig = gptConfig(sizes);
    const model = new GptModel(config, grid.tensor, recomputation ? { recomputation } : {});
    using parameters = model.parameters;
    parameters.allocate(engine);
    parameters.initialize(1);
    using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
    const count = batch * sequence;
    const micro = {
      ...{ microBatchSize: batch, seqLength: sequence, firstKey: undefined, firstSample: 0 },
      tokens: Int32Array.from(integers(count, 1, config.vocabSize)),
      labels: Int32Array.from(integers(count, 2, config.vocabSize)),
      lossMask: new Float32Array(count).fill(1),
      positionIds: Int32Array.from({ length: count }, (_, i) => i % sequence),
    };
    const stream = { next: () => micro, consumedSamples: 0 };
    const task = {
      ...{ engine, grid, parameters, trainBatches: () => stream, validationBatches: () => undefined },
      ...{ testBatches: () => undefined, countTerms: () => count },
      forwardStep: gptForward(model),
    };
    engine.memory.resetPeak();
    trainStep(task, stream, 2, optimizer, { learningRate: 1e-3, clipGrad: 1 });
    const bytes = (kind: MemoryKind): number => engine.memory.count(kind).current;
    const elements = (split: boolean): number =>
      parameters.groups.reduce((sum, group) => sum + (group.split === split ? group.values.size : 0), 0);
    found.push({
      current: {
        ...{ parameters: bytes('parameters'), gradients: bytes('gradients'), optimizer: bytes('optimizer') },
        ...{ activations: bytes('activations'), workspace: bytes('workspace') },
      },
      activations: engine.memory.count('activations').peak,
      expectedActivations: expectedActivationBytes(model, batch, sequence, grid.tensor.size),
      elements: [elements(true), elements(false)],
      groups: parameters.groups.length,
    });
  }
  return found;
};

export default rank;
