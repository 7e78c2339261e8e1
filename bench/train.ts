/** Whole training steps of a GPT-2 model, ours and PyTorch's taking turns. */

import { loadavg } from 'node:os';
import { UsageError } from '../src/base/errors.ts';
import { gptConfig, paddedVocabSize } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { countLossTerms, gptLossSum } from '../src/train/gpt-loss.ts';
import { modelFlopsPerToken, palmFlopsPerToken } from '../src/train/report/flops.ts';
import { trainStep } from '../src/train/step.ts';
import { benchmarkOptions, median, report, timed } from './measure.ts';
import { startTorch, type TorchPeer } from './peers/torch.ts';

/** GPT-2's sizes (layers, width, heads). */
const models: Record<string, readonly [number, number, number]> = {
  tiny: [2, 128, 4],
  '124m': [12, 768, 12],
  '355m': [24, 1024, 16],
};

export async function trainBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ model: '124m', batch: '4', seq: '512', steps: '5', threads: '2', dropout: '0', peer: 'none', mode: 'eager' },
  });
  const sizes = models[options.model];
  if (!sizes) throw new UsageError(`there is no model ${options.model}; choose ${Object.keys(models).join(', ')}`);
  const [layers, hidden, heads] = sizes;
  const [batch, seq, steps, threads] = [options.batch, options.seq, options.steps, options.threads].map(Number) as [
    ...[number, number, number, number],
  ];
  const dropout = Number(options.dropout);
  using peer =
    options.peer === 'torch'
      ? await startTorch({ layers, hidden, heads, batch, seq, threads, dropout, mode: options.mode })
      : undefined;
  using engine = await createEngine({ threads, notify: (message) => process.stderr.write(`${message}\n`) });
  const ours = ourStep(engine, { layers, hidden, heads, batch, seq, dropout });
  const times = await takeTurns(ours.step, peer, steps);

  const tokens = batch * seq;
  const describe = (milliseconds: readonly number[]): object => {
    const ms = median(milliseconds);
    const perSecond = (tokens * 1000) / ms;
    return {
      medianStepMs: ms,
      bestStepMs: Math.min(...milliseconds),
      tokensPerSecond: perSecond,
      modelTflops: (perSecond * ours.modelFlops) / 1e12,
      palmTflops: (perSecond * ours.palmFlops) / 1e12,
      allStepsMs: milliseconds,
    };
  };
  report(`train-${options.model}-b${batch}-s${seq}-d${options.dropout}${peer ? `-torch-${options.mode}` : ''}`, {
    ...(peer
      ? {
          speedRatioToTorch: median(times.torch) / median(times.ours),
          speedRatioOfBestSteps: Math.min(...times.torch) / Math.min(...times.ours),
        }
      : {}),
    load: loadavg(),
    options,
    engine: engine.backend.description,
    ours: {
      ...describe(times.ours),
      lossAfter: ours.loss(),
      peakTensorBytes: engine.memory.count().peak,
      peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    },
    ...(peer ? { torch: { ...describe(times.torch), ...(await peer.finish()) } } : {}),
  });
}

interface StepSizes {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly batch: number;
  readonly seq: number;
  readonly dropout: number;
}

/** A model, an optimizer and one fixed batch of our own. */
function ourStep(engine: Engine, sizes: StepSizes) {
  const { layers, hidden, heads, batch, seq, dropout } = sizes;
  const config = gptConfig({
    ...{
      numLayers: layers,
      hiddenSize: hidden,
      numAttentionHeads: heads,
      maxPositionEmbeddings: seq,
      vocabSize: 50257,
    },
    ...{ attentionDropout: dropout, hiddenDropout: dropout },
  });
  const model = new GptModel(config);
  model.parameters.allocate(engine);
  model.parameters.initialize(1234);
  const optimizer = new AdamW(model.parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  // The same tokens as the peer's: a linear congruential sequence, which no tokenizer is needed for.
  const text = new Int32Array(batch * (seq + 1));
  for (let i = 0, state = 1; i < text.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text[i] = state % 50257;
  }
  const rows = (shift: number): Int32Array =>
    Int32Array.from(
      { length: batch * seq },
      (_, i) => text[Math.floor(i / seq) * (seq + 1) + (i % seq) + shift] as number,
    );
  const micro = {
    ...{ microBatchSize: batch, seqLength: seq, tokens: rows(0), labels: rows(1), firstKey: undefined, firstSample: 0 },
    lossMask: new Float32Array(batch * seq).fill(1),
    positionIds: Int32Array.from({ length: batch * seq }, (_, i) => i % seq),
  };
  const stream = { next: () => micro, consumedSamples: 0 };
  const task = {
    engine,
    grid: soloGrid(),
    parameters: model.parameters,
    trainBatches: () => stream,
    validationBatches: () => undefined,
    testBatches: () => undefined,
    countTerms: countLossTerms,
    forwardStep: (one: typeof micro, training: boolean) => gptLossSum(engine, model, one, training),
  };
  let loss = Number.NaN;
  const shape = { numLayers: layers, hiddenSize: hidden, sequenceLength: seq };
  return {
    step: () => {
      loss = trainStep(task, stream, 1, optimizer, { learningRate: 1e-4, clipGrad: 1 }).loss;
    },
    loss: () => loss,
    modelFlops: modelFlopsPerToken({ ...shape, vocabularySize: paddedVocabSize(config) }),
    palmFlops: palmFlopsPerToken({ ...shape, parameterCount: model.parameters.count }),
  };
}

/** Two warm-up steps each, then a step of ours, a step of theirs, and again. */
async function takeTurns(
  step: () => void,
  peer: TorchPeer | undefined,
  steps: number,
): Promise<{ ours: number[]; torch: number[] }> {
  for (let i = 0; i < 2; i++) {
    step();
    await peer?.step();
  }
  const times = { ours: [] as number[], torch: [] as number[] };
  for (let i = 0; i < steps; i++) {
    times.ours.push(timed(step));
    if (peer) times.torch.push(await peer.step());
    process.stderr.write(`step ${i + 1}/${steps}: ours ${times.ours[i]?.toFixed(0)} ms`);
    process.stderr.write(peer ? `, torch ${times.torch[i]?.toFixed(0)} ms\n` : '\n');
  }
  return times;
}
