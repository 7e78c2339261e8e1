/** What steps promise where something goes wrong; test/ has their numbers. */

import { describe, expect, it } from 'vitest';
import { describeOnEngines } from '../../test/support/engines.ts';
import { tinyBatches, tinyModel } from '../../test/support/tiny-gpt.ts';
import { launch } from '../comm/launch.ts';
import { add } from '../ops/add/op.ts';
import { AdamW } from '../optim/adamw.ts';
import { soloGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import { countLossTerms, gptForward } from './gpt-loss.ts';
import { DivergenceError, TrainingSteps } from './step.ts';
import { type ForwardStep, forwardBatch, type TrainTask } from './task.ts';

type Batch = ReturnType<ReturnType<typeof tinyBatches>['next']>;

interface Options {
  readonly scaled?: boolean;
  readonly change?: (forward: ForwardStep<Batch>) => ForwardStep<Batch>;
}

/** Steps of a small GPT, with what belongs to them. */
function setUp(engine: Engine, { scaled = false, change = (forward) => forward }: Options = {}) {
  using resources = new DisposableStack();
  const model = tinyModel(engine);
  const parameters = resources.use(model.parameters);
  const optimizer = resources.use(new AdamW(parameters, { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 }));
  const stream = tinyBatches({ microBatchSize: 2, seqLength: 8 }, 'train', 0);
  const task: TrainTask<Batch> = {
    ...{ engine, parameters, grid: soloGrid(), trainBatches: () => stream, countTerms: countLossTerms },
    ...{ validationBatches: () => undefined, testBatches: () => undefined, forwardStep: change(gptForward(model)) },
  };
  const steps = resources.use(new TrainingSteps(task, optimizer, scaled));
  const all = resources.move();
  return {
    ...{ steps, optimizer, parameters },
    begin: (lossScale?: number) => steps.begin(stream, 1, { learningRate: 0.01, clipGrad: 1, lossScale }),
    weights: () => parameters.groups.map(({ values }) => values.toArray()),
    [Symbol.dispose]: () => all.dispose(),
  };
}

describeOnEngines('a step that diverges', (engine) => {
  /** A loss mask of that number makes the loss one, and leaves gradients finite or not. */
  const withMask = (weight: number) => {
    const batches = tinyBatches({ microBatchSize: 2, seqLength: 8 }, 'train', 0);
    return {
      next: () => {
        const batch = batches.next();
        return { ...batch, lossMask: batch.lossMask.map(() => weight) };
      },
      consumedSamples: 0,
    };
  };

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('leaves weights and the count of updates alone: %f', (weight) => {
    using run = setUp(engine());
    run.begin().settle();
    const before = run.weights();
    const broken = run.steps.begin(withMask(weight), 1, { learningRate: 0.01, clipGrad: 1 });
    expect(() => broken.settle()).toThrow(DivergenceError);
    expect(run.weights()).toEqual(before);
    expect(run.optimizer.steps).toBe(1);
    expect(() => run.begin()).toThrow(DivergenceError);
  });

  it('leaves them alone where the loss alone is infinite', () => {
    using run = setUp(engine(), {
      change: (forward) => (batch, training) => {
        using infinite = Tensor.from(engine(), [Number.POSITIVE_INFINITY], []);
        return add(forwardBatch(engine(), forward, batch, training), infinite);
      },
    });
    const before = run.weights();
    const step = run.begin();
    expect(() => step.settle()).toThrow(/loss Infinity, gradient norm \d/);
    expect(run.weights()).toEqual(before);
    expect(run.optimizer.steps).toBe(0);
  });

  it('goes on where a loss scale overflowed', () => {
    using run = setUp(engine(), { scaled: true });
    const before = run.weights();
    expect(run.begin(Number.POSITIVE_INFINITY).settle()).toMatchObject({ overflowed: true });
    expect(run.weights()).toEqual(before);
    expect(run.begin(2).settle().overflowed).toBe(false);
    expect(run.weights()).not.toEqual(before);
    expect(run.optimizer.steps).toBe(1);
  });
});

describe('the steps of ranks', () => {
  const run = (differ: 'name' | 'going on') =>
    launch<boolean>(2, new URL('../../test/support/ranks/mixed-engines.rank.ts', import.meta.url), { differ });

  it('are refused where ranks compute on other engines', async () => {
    await expect(run('name')).rejects.toThrow(/one rank computes on (reference|cpu), another on (cpu|reference)/);
  });

  it('overlap on all ranks or on none', async () => {
    expect(await run('going on')).toEqual([false, false]);
  });
});
