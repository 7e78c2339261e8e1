/** How a batch is cut and packed does not change what is learnt from it. */

import { describe, expect, it } from 'vitest';
import type { MicroBatch, SampleDataset } from '../src/data/index.ts';
import { GptModel } from '../src/model/gpt.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { countLossTerms } from '../src/train/gpt-loss.ts';
import { pretrain } from '../src/train/pretrain.ts';
import { differenceOf, expectClose } from './support/closeness.ts';
import { describeOnEngines } from './support/engines.ts';
import { integers } from './support/numbers.ts';
import {
  endOfDocument,
  type TinyData,
  tinyBatches,
  tinyConfig,
  tinyForwardStep,
  tinyModel,
  tinyOptions,
} from './support/tiny-gpt.ts';

describeOnEngines(
  'a global batch of eight',
  (engine) => {
    /** Loss and gradients of one update of a new model; they are still there when the update is done. */
    async function gradientsOf(microBatchSize: number, options: Omit<TinyData, 'microBatchSize'>) {
      let loss = Number.NaN;
      let terms = 0;
      const countTerms = (batch: MicroBatch): number => {
        const count = countLossTerms(batch);
        terms += count;
        return count;
      };
      const { model } = await pretrain(
        () => new GptModel(tinyConfig()),
        () => ({ train: () => tinyBatches({ microBatchSize, ...options }, 'train', 16), countTerms }),
        tinyForwardStep(engine()),
        {
          ...{ ...tinyOptions(engine()), trainIters: 1, microBatchSize, globalBatchSize: 8 },
          report: () => ({
            logged: (record) => {
              loss = record.loss;
            },
          }),
        },
      );
      using parameters = model.parameters;
      const gradients = new Map(parameters.all.map(({ name, value }) => [name, value.grad?.toArray() ?? []]));
      return { loss, gradients, terms };
    }

    it.each([{ eodMaskLoss: true }, { eodMaskLoss: true, resetAttentionMask: true, resetPositionIds: true }])(
      'has one loss and gradient as 8×1, 4×2 and 1×8 micro-batches, dropout on: %o',
      async (options) => {
        const whole = await gradientsOf(8, options);
        // some tokens are masked, and not as many in every row
        expect(whole.terms).toBeLessThan(8 * 40);
        expect(whole.terms % 8).not.toBe(0);
        expect(Math.max(...[...whole.gradients.values()].flat().map(Math.abs))).toBeGreaterThan(1e-3);
        for (const microBatchSize of [1, 2]) {
          const cut = await gradientsOf(microBatchSize, options);
          expect(cut.terms).toBe(whole.terms);
          // float32 sums in another order
          expect(Math.abs(cut.loss / whole.loss - 1)).toBeLessThanOrEqual(1e-6);
          for (const [name, gradient] of whole.gradients) {
            expectClose(
              cut.gradients.get(name) ?? [],
              gradient,
              1e-5,
              `gradient of ${name} at ${microBatchSize}`,
              1e-3,
            );
          }
        }
      },
    );

    it('draws other dropout masks for other samples of the run', () => {
      using model = disposable(tinyModel(engine()));
      const batch = tinyBatches({ microBatchSize: 1 }, 'train', 0).next();
      const at = (firstSample: number): number[] => tokenLosses(engine(), model.value, { ...batch, firstSample }, true);
      expect(at(7)).toEqual(at(7));
      expect(differenceOf(at(7), at(8)).relative).toBeGreaterThan(1e-3);
    });
  },
  { emulated: false },
);

describeOnEngines(
  'documents that share a row',
  (engine) => {
    const document = (length: number, key: number): number[] => [
      ...integers(length, key, endOfDocument),
      endOfDocument,
    ];
    const first = document(12, 1);
    const second = document(9, 2);
    const last = document(15, 3).slice(0, -1);

    /** Losses of the tokens of a row made of these documents, padded at its end. */
    function lossesOf(
      model: GptModel,
      documents: readonly (readonly number[])[],
      options: Omit<TinyData, 'dataset' | 'microBatchSize'>,
    ) {
      const tokens = documents.flat();
      const row = Int32Array.from({ length: 41 }, (_, i) => tokens[i] ?? endOfDocument);
      const dataset: SampleDataset = { name: 'row', length: 1, sequenceLength: 40, sample: () => ({ tokens: row }) };
      const batch = tinyBatches({ microBatchSize: 1, ...options, dataset }, 'row', 0).next();
      return tokenLosses(engine(), model, batch, false);
    }

    /** Losses of `last`, its final token left out: what that predicts lies beyond the document. */
    function lossesOfLast(
      model: GptModel,
      before: readonly (readonly number[])[],
      options: Parameters<typeof lossesOf>[2],
    ) {
      const start = before.flat().length;
      return lossesOf(model, [...before, last], options).slice(start, start + last.length - 1);
    }

    it('have the losses they have alone, with --reset-attention-mask and --reset-position-ids', () => {
      using model = disposable(tinyModel(engine(), { initMethodStd: 0.5 }));
      const reset = { resetAttentionMask: true, resetPositionIds: true };
      const alone = lossesOfLast(model.value, [], reset);
      // the keys fall into other tiles, so sums run in another order
      expectClose(lossesOfLast(model.value, [first, second], reset), alone, 1e-5);
      expectClose(lossesOfLast(model.value, [second], reset), alone, 1e-5);
      for (const options of [{}, { resetAttentionMask: true }, { resetPositionIds: true }]) {
        const { relative } = differenceOf(lossesOfLast(model.value, [first, second], options), alone);
        expect(relative, JSON.stringify(options)).toBeGreaterThan(0.01);
      }
    });

    it('do not see what stands before them, with --reset-attention-mask alone', () => {
      using model = disposable(tinyModel(engine(), { initMethodStd: 0.5 }));
      const other = document(12, 9);
      const mask = { resetAttentionMask: true };
      expectClose(
        lossesOfLast(model.value, [other, second], mask),
        lossesOfLast(model.value, [first, second], mask),
        1e-5,
      );
      const { relative } = differenceOf(
        lossesOfLast(model.value, [other, second], {}),
        lossesOfLast(model.value, [first, second], {}),
      );
      expect(relative).toBeGreaterThan(1e-3);
    });
  },
  { emulated: false },
);

/** Losses of every token of a batch. */
function tokenLosses(engine: Engine, model: GptModel, batch: MicroBatch, training: boolean): number[] {
  return engine.scope(() => {
    const shape = [batch.microBatchSize, batch.seqLength];
    const ids = (values: Int32Array): Tensor => Tensor.from(engine, values, shape, { dtype: 'i32' });
    const firstKey = batch.firstKey && ids(batch.firstKey);
    const state = { training, firstSample: batch.firstSample, firstKey };
    return model.tokenLosses(ids(batch.tokens), ids(batch.positionIds), ids(batch.labels), state).toArray();
  });
}

function disposable(value: GptModel): { readonly value: GptModel } & Disposable {
  return { value, [Symbol.dispose]: () => value.parameters[Symbol.dispose]() };
}

describe('the tokens of a micro-batch', () => {
  it('are those of the samples in order, whatever the micro-batch size', () => {
    const read = (microBatchSize: number): number[] => {
      const stream = tinyBatches({ microBatchSize }, 'train', 16);
      return Array.from({ length: 8 / microBatchSize }, () => [...stream.next().tokens]).flat();
    };
    expect(read(1)).toEqual(read(8));
    expect(read(2)).toEqual(read(8));
  });
});
