/** Memory is flat from the second step on, and nothing is left behind when a step fails. */

import { describe, expect, it } from 'vitest';
import { GptModel } from '../src/model/gpt.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { memoryKinds } from '../src/tensor/allocator.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { countLossTerms, gptForward, gptLossSum } from '../src/train/gpt-loss.ts';
import { type PretrainOptions, pretrain } from '../src/train/pretrain.ts';
import { trainStep } from '../src/train/step.ts';
import { describeOnEngines } from './support/engines.ts';
import { tinyBatches, tinyConfig, tinyDatasets, tinyForwardStep, tinyModel, tinyOptions } from './support/tiny-gpt.ts';

const data = { microBatchSize: 2, eodMaskLoss: true, resetAttentionMask: true, resetPositionIds: true };

const train = (engine: Engine, options: Partial<PretrainOptions<GptModel>>, forward = tinyForwardStep(engine)) =>
  pretrain(
    () => new GptModel(tinyConfig()),
    () => tinyDatasets(data),
    forward,
    { ...tinyOptions(engine), ...options },
  );

describeOnEngines(
  'memory over 200 steps with dropout, accumulation and evaluation',
  (engine) => {
    it('is the same at the end of every step from the second on', { timeout: 120_000 }, async () => {
      const { memory } = engine();
      const steps = engine().name === 'cpu' ? 200 : 50; // the reference engine is slow, and knows no other memory
      const counts: number[][] = [];
      const resident: number[] = [];
      const { model } = await train(engine(), {
        ...{ trainIters: steps, evalInterval: 10, evalIters: 1 },
        report: () => ({
          stepped: () => {
            const byKind = memoryKinds.flatMap((kind) => [memory.count(kind).current, memory.count(kind).peak]);
            counts.push([...byKind, memory.count().peak, memory.held]);
            resident.push(process.memoryUsage().rss);
          },
        }),
      });
      expect(counts).toHaveLength(steps);
      for (const [step, count] of counts.entries()) {
        if (step >= 1) expect(count, `after step ${step + 1}`).toEqual(counts[1]);
      }
      const [, , , , , , activations, , workspace] = counts[1] ?? [];
      const scalars = 7 * 512; // of the update and the loss, which last as long as the run
      expect([activations, workspace], 'activations and workspace still in use').toEqual([0, scalars]);
      // Steps allocate about a megabyte each: losing a fifth of it would pass this bound.
      const growth = (resident.at(-1) ?? 0) - (resident[20] ?? 0);
      expect(growth).toBeLessThan(32 * 2 ** 20);
      model.parameters[Symbol.dispose]();
      expect(memory.count().current).toBe(0);
    });

    it('is held once, however many steps are made by themselves', () => {
      const { memory } = engine();
      const model = tinyModel(engine());
      using parameters = model.parameters;
      using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 });
      const stream = tinyBatches({ microBatchSize: 2 }, 'train', 0);
      const task = {
        ...{ engine: engine(), parameters, grid: soloGrid(), trainBatches: () => stream, countTerms: countLossTerms },
        ...{ validationBatches: () => undefined, testBatches: () => undefined, forwardStep: gptForward(model) },
      };
      const held = Array.from({ length: 4 }, () => {
        trainStep(task, stream, 2, optimizer, { learningRate: 0.01, clipGrad: 1 });
        return memory.held;
      });
      expect(new Set(held.slice(1)).size).toBe(1);
    });

    it('is given back when a forward step throws', async () => {
      let calls = 0;
      const failing = train(engine(), {}, (batch, model, training) => {
        const loss = gptLossSum(engine(), model, batch, training);
        if (++calls === 6) throw new Error('no more');
        return loss;
      });
      await expect(failing).rejects.toThrow('no more');
      expect(engine().recorder).toBeUndefined();
      expect(engine().memory.count().current).toBe(0);
    });

    it('is given back when an operator throws inside the model', async () => {
      const { memory } = engine();
      const { allocate } = memory;
      let allocations = 0;
      const failing = train(engine(), {
        report: () => {
          // somewhere in the middle of the third step
          memory.allocate = (bytes, kind) => {
            if (++allocations === 260) throw new Error('no memory left');
            return allocate.call(memory, bytes, kind);
          };
          return {};
        },
      });
      await expect(failing).rejects.toThrow('no memory left');
      memory.allocate = allocate;
      expect(memory.count().current).toBe(0);
    });
  },
  { emulated: false },
);

describe('options that do not fit each other', () => {
  it.each([
    [{ globalBatchSize: 5 }, /a global batch of 5 cannot be cut/],
    [{ microBatchSize: 0 }, /microBatchSize must be a whole number/],
    [{ trainIters: 2.5 }, /trainIters must be a whole number/],
    [{ logInterval: 0 }, /logInterval must be a whole number/],
  ])('%o', async (options, message) => {
    using engine = createReferenceEngine();
    await expect(train(engine, options)).rejects.toThrow(message);
    expect(engine.memory.count().current).toBe(0);
  });
});
