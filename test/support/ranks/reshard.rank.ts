/** A rank that loads its part of a training run's checkpoint and saves it again. */

import { openCheckpoint } from '../../../src/checkpoint/index.ts';
import type { RankFunction } from '../../../src/comm/rank.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import { AdamW } from '../../../src/optim/adamw.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';
import { createReferenceEngine } from '../../../src/tensor/engines/reference.ts';
import { modelOfCheckpoint } from '../../../src/train/gpt-architecture.ts';
import { newProgress } from '../../../src/train/progress.ts';
import { loadTraining, saveTraining } from '../../../src/train/training-checkpoint.ts';

export interface Resharding {
  readonly from: string;
  readonly to: string;
  readonly tensorParallelSize: number;
}

const rank: RankFunction<Resharding, void> = (world, { from, to, tensorParallelSize }) => {
  const grid = createRankGrid(world, tensorParallelSize);
  using engine = createReferenceEngine();
  using checkpoint = openCheckpoint(from);
  const model = new GptModel(modelOfCheckpoint(checkpoint), grid.tensor);
  using parameters = model.parameters;
  parameters.allocate(engine);
  using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  const progress = newProgress();
  const state = { parameters, optimizer, progress };
  loadTraining(checkpoint, state);
  const { architecture, tokenizer } = checkpoint.manifest;
  saveTraining(state, grid, {
    ...{ folder: to, retain: undefined, architecture, tokenizer, tokensPerSample: 1, settings: {} },
  });
};

export default rank;
