/** Recomputation changes no bit of a run and keeps exactly the activations that it says it keeps. */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../src/base/errors.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { type GptConfig, gptConfig } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import { layerGroups, type Recomputation } from '../src/model/recomputation.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { roundUpSize } from '../src/tensor/allocator.ts';
import { rawBytes } from '../src/tensor/dtype.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { countLossTerms, gptLossSum } from '../src/train/gpt-loss.ts';
import { trainStep } from '../src/train/step.ts';
import { describeOnEngines, noCpuEngine } from './support/engines.ts';
import { areIdentical, type ParityCase, readRecord, runLayout } from './support/parity.ts';
import { tinyBatches } from './support/tiny-gpt.ts';
import { runTinyOnRanks } from './support/tiny-ranks.ts';
import type { RunOptions } from './support/tiny-run.ts';

const full = (method: 'uniform' | 'block', numLayers: number): Recomputation => ({
  granularity: 'full',
  method,
  numLayers,
});

const modes: Record<string, Recomputation> = {
  none: { granularity: 'none' },
  selective: { granularity: 'selective' },
  'uniform 1': full('uniform', 1),
  'uniform 2': full('uniform', 2), // of three layers: the last group has one
  'uniform 3': full('uniform', 3),
  'block 1': full('block', 1),
  'block 2': full('block', 2),
};
const modeNames = Object.keys(modes).slice(1);

const [b, s, h, n, f, L] = [2, 40, 32, 4, 128, 3];
const config = (options: Partial<GptConfig> = {}): GptConfig =>
  gptConfig({
    ...{ numLayers: L, hiddenSize: h, numAttentionHeads: n, maxPositionEmbeddings: s, vocabSize: 67 },
    ...{ makeVocabSizeDivisibleBy: 16, ...options },
  });
const data = { microBatchSize: b, seqLength: s, eodMaskLoss: true, resetAttentionMask: true, resetPositionIds: true };

interface Trained {
  readonly losses: readonly number[];
  /** Of every step, all parameters' in a row. */
  readonly gradients: readonly string[];
  readonly weights: string;
  /** Bytes in use when a forward pass has ended, and the peak of each step. */
  readonly kept: number;
  readonly peaks: readonly number[];
}

/** Four steps of two micro-batches. */
function train(engine: Engine, recomputation: Recomputation, options: Partial<GptConfig> = {}): Trained {
  const { memory } = engine;
  const model = new GptModel(config(options), undefined, { recomputation });
  using parameters = model.parameters;
  parameters.allocate(engine);
  parameters.initialize(1);
  using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  const stream = tinyBatches(data, 'train', 0);
  let kept = 0;
  const task = {
    ...{ engine, grid: soloGrid(), parameters, countTerms: countLossTerms, trainBatches: () => stream },
    ...{ validationBatches: () => undefined, testBatches: () => undefined },
    forwardStep: (batch: ReturnType<typeof stream.next>, training: boolean) => {
      const loss = gptLossSum(engine, model, batch, training);
      kept = memory.count('activations').current;
      return loss;
    },
  };
  const bits = (pick: 'values' | 'gradients'): string =>
    parameters.groups
      .map((group) => Buffer.from(rawBytes(group[pick]?.read() ?? new Float32Array())).toString('base64'))
      .join();
  const [losses, gradients, peaks]: [number[], string[], number[]] = [[], [], []];
  for (let step = 0; step < 4; step++) {
    memory.resetPeak();
    losses.push(trainStep(task, stream, 2, optimizer, { learningRate: 0.01, clipGrad: 1 }).loss);
    peaks.push(memory.count().peak);
    gradients.push(bits('gradients'));
  }
  return { losses, gradients, weights: bits('values'), kept, peaks };
}

describeOnEngines(
  'recomputation in a GPT with dropout',
  (engine) => {
    let plain: Trained;
    beforeAll(() => {
      plain = train(engine(), modes['none'] as Recomputation);
    });

    it.each(modeNames)('%s: the same losses, gradients and weights, to the last bit', (name) => {
      const again = train(engine(), modes[name] as Recomputation);
      expect(new Set(plain.losses).size).toBe(4);
      expect(again.losses).toEqual(plain.losses);
      expect(again.gradients.map((bits, step) => bits === plain.gradients[step])).toEqual([true, true, true, true]);
      expect(again.weights === plain.weights).toBe(true);
      expect(engine().memory.count().current).toBe(0);
    });

    it('without dropout too, and with an output matrix of its own', () => {
      const options = { hiddenDropout: 0, attentionDropout: 0, tiedEmbeddings: false };
      const without = train(engine(), modes['none'] as Recomputation, options);
      expect(without.weights).not.toBe(plain.weights);
      for (const name of modeNames) {
        const again = train(engine(), modes[name] as Recomputation, options);
        expect(again.gradients.join() === without.gradients.join(), name).toBe(true);
      }
    });

    it.each(Object.keys(modes))('%s: keeps what the formula says, in every step', (name) => {
      const recomputation = modes[name] as Recomputation;
      const bytes = (numbers: number): number => roundUpSize(4 * numbers);
      const hidden = bytes(b * s * h);
      // inputs of the two norms, QKV, context, log Σ exp, the wide layer before GELU
      const lean = 2 * hidden + bytes(3 * b * s * h) + hidden + bytes(b * n * s) + bytes(b * s * f);
      // and the norms' outputs and statistics, and what GELU makes
      const whole = lean + 2 * hidden + 4 * bytes(b * s) + bytes(b * s * f);
      const layers = layerGroups(L, recomputation).map(({ first, end, recomputed }) =>
        recomputed ? hidden : (end - first) * (recomputation.granularity === 'selective' ? lean : whole),
      );
      const padded = 80;
      const ends = 2 * hidden + 2 * bytes(b * s) + bytes(b * s * padded) + bytes(2 * b * s); // final norm; logits and their statistics
      const batch = 5 * bytes(b * s) + bytes(2); // tokens, positions, labels, mask, first keys; the first sample's number
      const loss = bytes(1);
      const { kept, peaks } = train(engine(), recomputation);
      expect(kept).toBe(layers.reduce((sum, size) => sum + size, ends + batch + loss));
      expect(new Set(peaks.slice(1)).size).toBe(1);
    });

    it('needs less the more it recomputes', () => {
      const peakOf = (name: string, numLayers: number): number =>
        train(engine(), modes[name] as Recomputation, { numLayers }).peaks.at(-1) ?? 0;
      const order = ['none', 'block 1', 'block 2', 'selective', 'uniform 2', 'uniform 1'];
      const peaks = order.map((name) => peakOf(name, 8));
      expect(peaks).toEqual(peaks.toSorted((a, z) => z - a));
      expect(new Set(peaks).size).toBe(order.length);
    });
  },
  { emulated: false },
);

describe('groups of layers', () => {
  it('are those of Megatron', () => {
    const groups = (recomputation: Recomputation) =>
      layerGroups(5, recomputation).map(({ first, end, recomputed }) => `${first}-${end}${recomputed ? '*' : ''}`);
    expect(groups(full('uniform', 2))).toEqual(['0-2*', '2-4*', '4-5*']);
    expect(groups(full('block', 2))).toEqual(['0-1*', '1-2*', '2-3', '3-4', '4-5']);
    expect(groups({ granularity: 'selective' })).toEqual(['0-1', '1-2', '2-3', '3-4', '4-5']);
  });

  it.each([0, 6, 1.5])('%d of 5 layers are refused', (numLayers) => {
    expect(() => layerGroups(5, full('block', numLayers))).toThrow(UsageError);
  });
});

const packed: ParityCase = '6 heads, packed documents';
const flags: Record<string, RunOptions> = {
  selective: { recomputeGranularity: 'selective' },
  'uniform 1': { recomputeGranularity: 'full' },
  'uniform 2': { recomputeGranularity: 'full', recomputeNumLayers: 2 },
  'block 1': { recomputeGranularity: 'full', recomputeMethod: 'block', recomputeNumLayers: 1 },
};

describe.skipIf(noCpuEngine)('recomputation on ranks', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
  });
  afterAll(() => folder[Symbol.dispose]());

  // tied embeddings, dropout, packed documents; gradients are summed over D while backward still runs
  it('T=2, D=2: the same losses, gradients and weights, to the last bit', async () => {
    const run = async (name: string, options: RunOptions): Promise<string> => {
      const runs = await runLayout({ tensor: 2, data: 2 }, join(folder.path, name), [packed], () => 2, options);
      return runs.get(packed) ?? '';
    };
    const plain = await run('none', {});
    expect(readRecord(plain).losses).toHaveLength(2);
    for (const [name, options] of Object.entries(flags)) {
      expect(areIdentical(await run(name, options), plain), name).toBe(true);
    }
  });

  it('says what the hardware does, and expects less memory', async () => {
    const options = { numLayers: 4, trainIters: 2, logInterval: 1, evalIters: 0 };
    const [kept, again] = [
      await runTinyOnRanks({ tensor: 2, data: 1 }, options),
      await runTinyOnRanks({ tensor: 2, data: 1 }, { ...options, recomputeGranularity: 'full' }),
    ];
    const kibibytes = (text: string): number => Number(/expected peak .*activations ([\d.]+) KiB/.exec(text)?.[1]);
    expect(kept).not.toContain('hardware TFLOP/s');
    expect(again).toMatch(/PaLM TFLOP\/s \(6N\+12Lhs\): [\d.]+ \| hardware TFLOP\/s \(with recomputation\): [\d.]+ \|/);
    expect(kibibytes(again)).toBeLessThan(0.7 * kibibytes(kept));
    const loss = /lm loss: [^|]+/g;
    expect(again.match(loss)).toEqual(kept.match(loss));
  });
});
