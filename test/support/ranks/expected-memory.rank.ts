/** A rank that trains small GPTs with evaluation, as `megatron pretrain gpt` does, and tells what its engine counted. */

import type { RankFunction } from '../../../src/comm/rank.ts';
import { parseCommandLine } from '../../../src/config/command.ts';
import { isSized, pretrainGptCommand } from '../../../src/config/pretrain-gpt.ts';
import { recomputationOf } from '../../../src/config/recompute-flags.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import { createRankGrid } from '../../../src/parallel/grid.ts';
import { createEngine } from '../../../src/tensor/engines/select.ts';
import { expectedPeak, memoryPlanOf, type PeakMemory, peakOf } from '../../../src/train/expected-memory.ts';
import { modelOfRun } from '../../../src/train/gpt-architecture.ts';
import { openGptDatasets } from '../../../src/train/gpt-datasets.ts';
import { gptForward } from '../../../src/train/gpt-loss.ts';
import { precisionOf } from '../../../src/train/precision.ts';
import { pretrain } from '../../../src/train/pretrain.ts';
import { type RunOptions, tinyArguments } from '../tiny-run.ts';

export interface PeaksFound {
  readonly measured: PeakMemory;
  readonly expected: PeakMemory;
}

const rank: RankFunction<readonly RunOptions[], PeaksFound[]> = async (world, runs) => {
  const found: PeaksFound[] = [];
  for (const options of runs) {
    const line = parseCommandLine(pretrainGptCommand, tinyArguments(options).slice(2));
    if (line.help) throw new Error('no help was asked for');
    const { config } = line;
    if (!isSized(config)) throw new Error('the micro-batch size is given');
    const grid = createRankGrid(world, config.tensorModelParallelSize);
    const modelConfig = modelOfRun(config, config.vocabSize ?? 0);
    using engine = await createEngine({ device: config.device, threads: 1 });
    using datasets = openGptDatasets(config, {
      ...{ vocabSize: modelConfig.vocabSize, endOfDocument: 1, grid, notify: () => {}, engine: () => engine },
    });
    const { adamBeta1: beta1, adamBeta2: beta2, adamEps: epsilon, weightDecay } = config;
    const { model } = await pretrain(
      () => new GptModel(modelConfig, grid.tensor, { recomputation: recomputationOf(config) }),
      () => datasets,
      { of: gptForward },
      { ...config, engine, grid, precision: precisionOf(config), adam: { beta1, beta2, epsilon, weightDecay } },
    );
    model.parameters[Symbol.dispose]();
    found.push({
      measured: peakOf(engine.memory),
      expected: expectedPeak(memoryPlanOf(config, modelConfig, grid, engine)),
    });
  }
  return found;
};

export default rank;
