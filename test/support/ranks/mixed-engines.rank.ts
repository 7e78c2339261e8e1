/** Ranks that would step on engines that differ: by name, or in whether their work goes on after a call. */

import type { RankFunction } from '../../../src/comm/rank.ts';
import { AdamW } from '../../../src/optim/adamw.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';
import { createMetaEngine } from '../../../src/tensor/engines/meta.ts';
import { createReferenceEngine } from '../../../src/tensor/engines/reference.ts';
import { countLossTerms, gptForward } from '../../../src/train/gpt-loss.ts';
import { TrainingSteps } from '../../../src/train/step.ts';
import { tinyBatches, tinyModel } from '../tiny-gpt.ts';

export interface MixedOptions {
  readonly differ: 'name' | 'going on';
}

/** @returns whether steps may overlap on this rank */
const rank: RankFunction<MixedOptions, boolean> = async (world, { differ }) => {
  const grid = createRankGrid(world, 1);
  using engine = differ === 'name' && world.rank === 1 ? createMetaEngine() : createReferenceEngine();
  if (differ === 'going on') Object.assign(engine.backend, { goesOn: world.rank === 0 });
  const model = tinyModel(engine);
  using parameters = model.parameters;
  using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 });
  const stream = tinyBatches({ microBatchSize: 1, seqLength: 8 }, 'train', world.rank);
  const task = {
    ...{ engine, parameters, grid, trainBatches: () => stream, countTerms: countLossTerms },
    ...{ validationBatches: () => undefined, testBatches: () => undefined, forwardStep: gptForward(model) },
  };
  using steps = new TrainingSteps(task, optimizer, false);
  for (let i = 0; i < 2; i++) steps.begin(stream, 1, { learningRate: 0.01, clipGrad: 1 }).settle();
  return steps.mayOverlap;
};

export default rank;
