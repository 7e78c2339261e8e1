/** Training steps that a GPU records once and does again: the numbers of steps that the host begins kernel by kernel. */

import { afterEach, expect, it, vi } from 'vitest';
import { EngineError } from '../src/base/errors.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { countLossTerms, gptForward, gptLossSum } from '../src/train/gpt-loss.ts';
import { DivergenceError, TrainingSteps } from '../src/train/step.ts';
import type { ForwardStep } from '../src/train/task.ts';
import { describeOnGpus } from './support/gpus.ts';
import { tinyBatches, tinyModel } from './support/tiny-gpt.ts';
import { runTiny } from './support/tiny-run.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

type Batch = ReturnType<ReturnType<typeof tinyBatches>['next']>;

/** A small GPT's steps of two micro-batches, with its engine and how often the host began a kernel. */
function setUp(change: (forward: ReturnType<typeof gptForward>) => ForwardStep<Batch> = (forward) => forward) {
  using resources = new DisposableStack();
  const engine = resources.use(createCudaEngine());
  const model = tinyModel(engine);
  const parameters = resources.use(model.parameters);
  const optimizer = resources.use(new AdamW(parameters, { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 }));
  const stream = tinyBatches({ microBatchSize: 2, seqLength: 12 }, 'train', 0);
  const task = {
    ...{ engine, parameters, grid: soloGrid(), trainBatches: () => stream, countTerms: countLossTerms },
    ...{ validationBatches: () => undefined, testBatches: () => undefined, forwardStep: change(gptForward(model)) },
  };
  const steps = resources.use(new TrainingSteps<Batch>(task, optimizer, false));
  const run = vi.spyOn(engine.backend, 'run');
  const all = resources.move();
  return {
    ...{ engine, model, parameters, stream, steps },
    /** Kernels that the host began since this was asked the last time. */
    begun: () => {
      const count = run.mock.calls.length;
      run.mockClear();
      return count;
    },
    begin: (source: { next(): Batch; readonly consumedSamples: number } = stream) =>
      steps.begin(source, 2, { learningRate: 0.01, clipGrad: 0.5 }),
    weights: () => parameters.groups.map(({ values }) => values.toArray()),
    [Symbol.dispose]: () => all.dispose(),
  };
}

describeOnGpus('captured steps', () => {
  it('begin no kernel from the third step on, and give the same bits', { timeout: 120_000 }, () => {
    const train = (graphs: string) => {
      vi.stubEnv('MEGATRON_CUDA_GRAPHS', graphs);
      using run = setUp();
      const results = Array.from({ length: 4 }, () => ({ ...run.begin().settle(), begun: run.begun() }));
      return { results, weights: run.weights() };
    };
    const [captured, plain] = [train('1'), train('0')];
    const numbers = (run: typeof plain) => run.results.map(({ loss, gradNorm }) => [loss, gradNorm]);
    expect(numbers(captured)).toEqual(numbers(plain));
    expect(new Set(numbers(plain).map(([loss]) => loss)).size).toBe(4); // other data, masks and weights each time
    expect(captured.weights).toEqual(plain.weights);
    const [first = 0, second = 0, ...later] = captured.results.map(({ begun }) => begun);
    // the passes are captured with the second micro-batch of the first step, the update with the second step
    expect(first).toBeGreaterThan(second);
    expect(second).toBeGreaterThan(0);
    expect(later).toEqual([0, 0]);
    expect(plain.results.every(({ begun }) => begun === first)).toBe(true);
  });

  it('leave the memory of other work alone', () => {
    using run = setUp();
    for (let i = 0; i < 3; i++) run.begin().settle();
    const { engine } = run;
    // whatever size the steps use: none of their blocks may become somebody else's
    const sizes = Array.from({ length: 40 }, (_, i) => 128 * (i + 1));
    const kept = sizes.map((size) => Tensor.from(engine, new Float32Array(size).fill(7), [size]));
    const evaluate = (): number => run.steps.evaluate(batch);
    const batch = run.stream.next();
    const before = evaluate();
    expect(evaluate()).toBe(before);
    const other = tinyBatches({ microBatchSize: 1, seqLength: 7 }, 'valid', 0).next(); // of another shape
    expect(run.steps.evaluate(other)).toBeGreaterThan(0);
    run.begin().settle();
    expect(evaluate()).not.toBe(before);
    for (const tensor of kept) {
      expect(tensor.toArray().every((value) => value === 7)).toBe(true);
      tensor[Symbol.dispose]();
    }
  });

  it('are refused where the forward step reads or writes on its way', () => {
    using reading = setUp((forward) => ({
      ...forward,
      forward: (inputs, training) => {
        const loss = forward.forward(inputs, training);
        loss.item();
        return loss;
      },
    }));
    expect(() => reading.begin()).toThrow(EngineError);
    expect(() => reading.begin()).toThrow(/cannot read numbers on its way/);
    // and the engine goes on
    expect(reading.weights()[0]?.every(Number.isFinite)).toBe(true);
  });

  it('are begun kernel by kernel where the forward step is one part', () => {
    using run = setUp((forward) => (batch, training) => {
      using tokens = run.engine.scope(() => gptLossSum(run.engine, run.model, batch, training));
      expect(forward.inputs(batch).tokens?.shape).toEqual([2, 12]);
      tokens.item();
      return gptLossSum(run.engine, run.model, batch, training);
    });
    const counts = Array.from({ length: 3 }, () => {
      run.begin().settle();
      return run.begun();
    });
    expect(counts[2]).toBe(counts[0]);
  });

  it('end where batches change their shape, and go on kernel by kernel', () => {
    const others = {
      next: () => tinyBatches({ microBatchSize: 1, seqLength: 7 }, 'train', 5).next(),
      consumedSamples: 0,
    };
    const train = (graphs: string) => {
      vi.stubEnv('MEGATRON_CUDA_GRAPHS', graphs);
      using run = setUp();
      return [undefined, undefined, others, undefined].map((source) => run.begin(source).settle());
    };
    expect(train('1')).toEqual(train('0'));
  });

  it('leave the weights as they were before a gradient was no number, whatever has begun since', () => {
    using run = setUp();
    run.begin().settle();
    run.begin().settle();
    const before = run.weights();
    const [bias] = run.parameters.all.filter(({ name }) => name.endsWith('final_layernorm.bias'));
    const value = bias?.stored.toArray() ?? [];
    bias?.stored.write([Number.NaN]);
    const broken = run.begin();
    bias?.stored.write(value); // the step that follows would be a good one
    const next = run.begin();
    expect(() => broken.settle()).toThrow(DivergenceError);
    expect(() => next.settle()).toThrow(/diverged: loss NaN/);
    expect(() => run.begin()).toThrow(DivergenceError);
    expect(run.weights()).toEqual(before);
  });
});

describeOnGpus('a run', () => {
  it('reads its numbers a step late, and gives them all, in order', { timeout: 60_000 }, async () => {
    const order: string[] = [];
    const told = await runTiny(
      { device: 'cuda', trainIters: 5, evalInterval: 2, evalIters: 1, exitInterval: 3 },
      {
        events: {
          stepped: ({ iteration }) => order.push(`step ${iteration}`),
          logged: ({ iteration }) => order.push(`log ${iteration}`),
          validated: ({ iteration }) => order.push(`validation ${iteration}`),
        },
      },
    );
    expect(told).toMatchObject({ reason: 'exit interval', iteration: 3 });
    expect(order).toEqual(['step 1', 'log 1', 'step 2', 'log 2', 'validation 2', 'step 3', 'log 3']);
  });
});
