/** The library as its users have it: everything from the entry alone. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import {
  biasDropoutAdd,
  CheckpointError,
  counterWords,
  createEngine,
  crossEntropy,
  DivergenceError,
  Embedding,
  type Engine,
  type HostNumbers,
  LayerNorm,
  Linear,
  type LoopEvents,
  type ModelForward,
  openCheckpoint,
  Parameters,
  type PretrainOptions,
  pretrain,
  type RunIdentity,
  type StagedForward,
  Tensor,
  weightedSum,
} from '../src/index.ts';

/** Runs an example to its end. @returns what it prints */
async function runExample(name: string): Promise<string> {
  const example = fileURLToPath(new URL(`../examples/${name}`, import.meta.url));
  // threads that wait by spinning starve each other on a machine that tests something else meanwhile
  const env = { ...process.env, OMP_WAIT_POLICY: 'passive' };
  const run = spawn(process.execPath, [example], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const [stdout, stderr, [code]] = await Promise.all([text(run.stdout), text(run.stderr), once(run, 'exit')]);
  expect(code, stderr).toBe(0);
  return stdout;
}

const firstNumber = ([, number]: RegExpExecArray): number => Number(number);

describe('examples', () => {
  it('own-model.ts runs, and learns addition', { timeout: 120_000 }, async () => {
    const losses = [...(await runExample('own-model.ts')).matchAll(/^iteration \d+: loss ([\d.]+)$/gm)].map(
      firstNumber,
    );
    expect(losses.length).toBeGreaterThanOrEqual(4);
    expect(losses.at(-1)).toBeLessThan(0.1);
    expect(losses[0]).toBeGreaterThan(losses.at(-1) ?? 0);
  });

  it('tensor-parallel.ts learns, and its losses on two ranks are those on one', { timeout: 120_000 }, async () => {
    const printed = await runExample('tensor-parallel.ts');
    const losses = [...printed.matchAll(/^iteration \d+: loss ([\d.]+) on one rank, [\d.]+ on two$/gm)].map(
      firstNumber,
    );
    expect(losses).toHaveLength(4);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 3);
    const worst = printed.match(/^largest relative difference of 40 losses: (\S+)$/m)?.[1];
    // sums over two ranks are added in another order than over one
    expect(Number(worst)).toBeLessThan(1e-5);
  });
});

const rows = 8;

/** A model of a user's own: from a number, the one after it, modulo 11. */
class Successor {
  readonly parameters = new Parameters();
  readonly numbers = new Embedding(this.parameters, 'numbers', { entries: 11, width: 16 }, 0.5);
  readonly norm = new LayerNorm(this.parameters, 'norm', 16, 1e-5);
  readonly hidden: Linear;
  readonly output = new Linear(this.parameters, 'output', 16, 11, 0.1);

  constructor(hiddenName = 'hidden') {
    this.hidden = new Linear(this.parameters, hiddenName, 16, 16, 0.1);
  }
}

interface Batch {
  readonly firstSample: number;
  readonly ids: readonly number[];
}

/** Sample n is a function of n alone. */
function batches(start: number) {
  let consumedSamples = start;
  return {
    next(): Batch {
      const firstSample = consumedSamples;
      consumedSamples += rows;
      return { firstSample, ids: Array.from({ length: rows }, (_, i) => ((firstSample + i) * 7) % 11) };
    },
    get consumedSamples() {
      return consumedSamples;
    },
  };
}

const lossSum =
  (engine: Engine, probability = 0.2) =>
  ({ ids, firstSample }: Batch, model: Successor, training: boolean): Tensor => {
    const row = (values: readonly number[]): Tensor => Tensor.from(engine, values, [rows], { dtype: 'i32' });
    const x = model.norm.forward(model.numbers.forward(row(ids))); // [rows, 16]
    const dropout = { probability: training ? probability : 0, seed: 5, site: 0, firstSample };
    const y = biasDropoutAdd(model.hidden.forwardGelu(x, 'erf'), undefined, x, dropout);
    const losses = crossEntropy(model.output.forward(y), row(ids.map((id) => (id + 1) % 11)));
    return weightedSum(losses, Tensor.from(engine, new Float32Array(rows).fill(1), [rows]));
  };

const settings: Omit<PretrainOptions<Successor>, 'engine'> = {
  ...{ seed: 1, microBatchSize: rows, globalBatchSize: 2 * rows, trainIters: 20, logInterval: 5, clipGrad: 1 },
  lrDecayStyle: 'cosine',
  ...{ lr: 0.01, minLr: 0.001, lrDecayIters: 20, lrWarmupIters: 2 },
  adam: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
};

/** The same in two parts, of which the second does not know of batches. */
const stagedLossSum: ModelForward<Successor, Batch> = {
  of: (model) => ({
    inputs: ({ ids, firstSample }): Record<string, HostNumbers> => ({
      ids: { values: ids, shape: [rows], dtype: 'i32' },
      next: { values: ids.map((id) => (id + 1) % 11), shape: [rows], dtype: 'i32' },
      weights: { values: new Float32Array(rows).fill(1), shape: [rows] },
      firstSample: { values: counterWords(firstSample), shape: [2], dtype: 'i32' },
    }),
    forward(inputs, training) {
      const x = model.norm.forward(model.numbers.forward(inputs.tensor('ids'))); // [rows, 16]
      const firstSample = inputs.tensor('firstSample');
      const dropout = { probability: training ? 0.2 : 0, seed: 5, site: 0, firstSample };
      const y = biasDropoutAdd(model.hidden.forwardGelu(x, 'erf'), undefined, x, dropout);
      return weightedSum(crossEntropy(model.output.forward(y), inputs.tensor('next')), inputs.tensor('weights'));
    },
  }),
};

interface Parts {
  readonly events?: LoopEvents;
  readonly model?: () => Successor;
  readonly validation?: typeof batches;
  /** The forward step; default `lossSum`. */
  readonly forward?: ModelForward<Successor, Batch>;
  /** Told of every forward step. */
  readonly stepping?: (training: boolean) => void;
}

/** Trains on an engine of its own, and frees everything. */
async function train(options: Partial<PretrainOptions<Successor>>, parts: Parts = {}) {
  using engine = await createEngine({ threads: 1 });
  const losses: number[] = [];
  const { events = {}, model = () => new Successor(), validation = batches, stepping } = parts;
  const plain = lossSum(engine);
  const result = await pretrain(
    model,
    () => ({ train: batches, validation, countTerms: () => rows }),
    parts.forward ??
      ((batch: Batch, successor, training) => {
        stepping?.(training);
        return plain(batch, successor, training);
      }),
    {
      ...{ ...settings, engine, ...options },
      report: () => ({
        ...events,
        stepped: (step) => {
          losses.push(step.loss);
          events.stepped?.(step);
        },
      }),
    },
  );
  result.model.parameters[Symbol.dispose]();
  expect(engine.memory.count().current).toBe(0);
  return { losses, reason: result.reason, iteration: result.iteration };
}

describe('pretrain with a model of a user’s own', () => {
  it('resumes bit for bit from its checkpoint, dropout on', async () => {
    using folder = temporaryFolder();
    const { losses: whole } = await train({});
    const { losses: first } = await train({ exitInterval: 7, save: folder.path });
    expect(first).toEqual(whole.slice(0, 7));
    const { losses: second } = await train({ save: folder.path, load: folder.path });
    expect(second).toEqual(whole.slice(7));
    expect(whole.at(-1)).toBeLessThan((whole[0] ?? 0) - 0.3);
  });

  it('trains alike by a forward step in one part and in two', async () => {
    const options = { evalInterval: 4, evalIters: 2 };
    const { losses } = await train(options);
    expect(await train(options, { forward: stagedLossSum })).toMatchObject({ losses });
  });

  it('says what is wrong with a forward step in two parts', async () => {
    const { of } = stagedLossSum as { of(model: Successor): StagedForward<Batch> };
    const changed = (change: Partial<StagedForward<Batch>>) =>
      train({}, { forward: { of: (model) => ({ ...of(model), ...change }) } });
    const short = { ids: { values: [1, 2, 3], shape: [rows], dtype: 'i32' } } as const;
    await expect(changed({ inputs: () => short })).rejects.toThrow(/input ids: 3 values do not fill \[8\]/);
    await expect(changed({ forward: (inputs) => inputs.tensor('id') })).rejects.toThrow(
      /asks for an input id, and the batch has ids, next, weights, firstSample/,
    );
    const wrong = of as unknown as ModelForward<Successor, Batch>;
    await expect(train({}, { forward: wrong })).rejects.toThrow(/forward step returned no tensor/);
    const bare = of(new Successor()) as unknown as ModelForward<Successor, Batch>;
    await expect(train({}, { forward: bare })).rejects.toThrow(/neither a function nor has `of`/);
  });

  it('tells what happens, in order', async () => {
    using folder = temporaryFolder();
    const told: string[] = [];
    const options = {
      trainIters: 6,
      logInterval: 3,
      evalInterval: 4,
      evalIters: 1,
      saveInterval: 4,
      save: folder.path,
    };
    await train(options, {
      events: {
        logged: ({ iteration, consumedSamples }) => told.push(`logged ${iteration} ${consumedSamples}`),
        validated: ({ iteration, split }) => told.push(`${split} ${iteration}`),
        recorded: (log, validation) => told.push(`recorded ${log.iteration} ${validation !== undefined}`),
        saving: () => told.push('saving'),
        saved: ({ iteration }) => told.push(`saved ${iteration}`),
      },
    });
    expect(told).toEqual([
      ...['logged 3 48', 'recorded 3 false'],
      ...['logged 4 64', 'validation 4', 'recorded 4 true', 'saving', 'saved 4'],
      ...['logged 6 96', 'validation 6', 'recorded 6 true', 'saving', 'saved 6'],
    ]);
  });

  it('validates without dropout, each time on the next stretch of the data, also after a resume', async () => {
    const run = async (options: Partial<PretrainOptions<Successor>>) => {
      const starts: number[] = [];
      const steps: string[] = [];
      const losses: number[] = [];
      await train(
        { evalInterval: 3, evalIters: 2, ...options },
        {
          validation: (start) => {
            starts.push(start);
            return batches(start);
          },
          stepping: (training) => steps.push(training ? 't' : 'v'),
          events: { validated: ({ loss }) => losses.push(loss) },
        },
      );
      return { starts, losses, steps: steps.join('') };
    };
    using folder = temporaryFolder();
    const whole = await run({ trainIters: 10 });
    // two micro-batches for an update, four for a validation; the last one is at the end
    expect(whole.steps).toBe(`${'ttttttvvvv'.repeat(3)}ttvvvv`);
    expect(whole.starts).toEqual([0, 1, 2, 3].map((validation) => validation * 2 * 2 * rows));
    const first = await run({ trainIters: 10, exitInterval: 5, save: folder.path });
    const second = await run({ trainIters: 10, load: folder.path });
    expect([...first.starts, ...second.starts]).toEqual(whole.starts);
    expect([...first.losses, ...second.losses]).toEqual(whole.losses);
  });

  it('stops after the iteration in which it is asked to', async () => {
    using folder = temporaryFolder();
    const controller = new AbortController();
    const { signal } = controller;
    // asked from outside, while the third iteration computes
    const stepped = ({ iteration }: { readonly iteration: number }): void => {
      if (iteration === 3) setImmediate(() => controller.abort());
    };
    const stopped = await train({ save: folder.path, signal }, { events: { stepped } });
    expect(stopped).toMatchObject({ reason: 'signal', iteration: 3 });
    expect((await train({ load: folder.path, trainIters: 5 })).losses).toHaveLength(2);
  });

  it('is finished when it is done, whatever exit was set for that iteration', async () => {
    expect(await train({ trainIters: 4, exitInterval: 4, exitDurationInMins: 1e-9 })).toMatchObject({ iteration: 1 });
    expect(await train({ trainIters: 4, exitInterval: 4 })).toMatchObject({ reason: 'finished', iteration: 4 });
  });

  it('refuses a checkpoint with other parameters', async () => {
    using folder = temporaryFolder();
    await train({ trainIters: 2, save: folder.path });
    const load = folder.path;
    await expect(train({ load }, { model: () => new Successor('deeper') })).rejects.toThrow(CheckpointError);
    await expect(train({ load }, { model: () => new Successor('deeper') })).rejects.toThrow('hidden.weight');
  });

  it('does not write into a folder of another run', async () => {
    using folder = temporaryFolder();
    await train({ trainIters: 2, save: folder.path });
    await expect(train({ save: folder.path })).rejects.toThrow(/already holds checkpoints/);
  });

  it('stops when it diverges', async () => {
    await expect(train({ lr: 1e30, minLr: 1e30, clipGrad: 0 })).rejects.toThrow(DivergenceError);
  });

  it('keeps what the user wants to keep with a checkpoint', async () => {
    using folder = temporaryFolder();
    const identity: RunIdentity = {
      architecture: { model: 'successor' },
      tokenizer: null,
      attachments: [{ name: 'notes.txt', content: Buffer.from('mine') }],
      // names of ours in it cannot spoil a resume
      settings: { note: 7, lossSum: 'x' },
      tokensPerSample: 3,
    };
    await train({ trainIters: 2, save: folder.path, identity });
    using checkpoint = openCheckpoint(folder.path);
    const { manifest } = checkpoint;
    expect(manifest).toMatchObject({ iteration: 2, consumedSamples: 4 * rows, consumedTokens: 12 * rows });
    expect(manifest.architecture).toEqual({ model: 'successor' });
    expect(manifest.trainingState).toMatchObject({ note: 7, optimizerSteps: 2 });
    expect(Buffer.from(checkpoint.attachment('notes.txt') ?? []).toString()).toBe('mine');
    expect((await train({ trainIters: 3, load: folder.path })).losses).toHaveLength(1);
  });
});
