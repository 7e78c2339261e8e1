/** A rank of the scaling benchmark: holds its part of every configuration's model, and steps them in turn. */

import { cpus } from 'node:os';
import type { Communicator } from '../src/comm/communicator.ts';
import type { RankFunction } from '../src/comm/rank.ts';
import { gptConfig } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { createRankGrid } from '../src/parallel/grid.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { countLossTerms, gptForward } from '../src/train/gpt-loss.ts';
import { TrainingSteps } from '../src/train/step.ts';
import { timed } from './measure.ts';

/** A model and how it is laid out. */
export interface Configuration {
  readonly tensor: number;
  readonly data: number;
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
}

export interface ScalingWork {
  readonly configurations: readonly Configuration[];
  /** Samples of each data-parallel rank, their length, and the vocabulary. */
  readonly batch: number;
  readonly seq: number;
  readonly vocabulary: number;
  readonly dropout: number;
  /** Undisturbed steps wanted of each configuration, and the time after which the rest is given up. */
  readonly rounds: number;
  readonly minutes: number;
  /** Threads of a rank's engine. */
  readonly threads: number;
}

export interface StepTimes {
  /** Milliseconds, of the slowest rank. */
  readonly step: number;
  /** Milliseconds of it in collectives, mean of the ranks: transfer, reduction and waiting for each other. */
  readonly collectives: number;
  /** Cores that other programs used meanwhile. */
  readonly others: number;
}

/** A step during which other programs used less than this many cores counts as undisturbed. */
const quietCores = 0.04;
export const isQuiet = ({ others }: StepTimes): boolean => others < quietCores;

export interface ConfigurationTimes {
  /** Parameters of the whole model. */
  readonly parameters: number;
  readonly steps: readonly StepTimes[];
  /** Of one step. */
  readonly collectiveCalls: number;
  readonly collectiveBytes: number;
  readonly engine: string;
}

const warmUp = 2;

const rank: RankFunction<ScalingWork, ConfigurationTimes[]> = async (world, work) => {
  using engine = await createEngine({ threads: work.threads });
  const { configurations, rounds, minutes } = work;
  const runs = configurations.map((one) => {
    const ranks = one.tensor * one.data;
    // all ranks take part in the split, some of them only to be left out
    const group = world.split(world.rank < ranks ? 0 : 1, world.rank, `${ranks} workers`);
    return world.rank < ranks ? prepare(engine, group, one, work) : undefined;
  });
  const times = configurations.map((): StepTimes[] => []);
  const start = performance.now();
  const isLate = (): boolean => performance.now() - start > minutes * 60_000;
  /** Three steps of each are taken in any case, so that there is something to tell. */
  const isOver = (): boolean =>
    times.every((steps) => steps.filter(isQuiet).length >= rounds || (isLate() && steps.length >= 3));
  let steps = 0;
  for (let round = -warmUp; round < 0 || world.exchange(isOver())[0] === false; round++) {
    for (const [index, run] of runs.entries()) {
      if (round >= 0 && world.rank === 0) waitForQuiet(isLate);
      world.barrier(); // where the other ranks sleep meanwhile
      const others = watchOthers();
      const before = run?.collectives().seconds ?? 0;
      const milliseconds = run ? timed(run.step) : 0;
      const inside = run ? (run.collectives().seconds - before) * 1000 : 0;
      // a rank without a part sleeps here
      const all = world.exchange([milliseconds, inside] as const);
      if (round < 0) continue;
      const { tensor, data } = configurations[index] as Configuration;
      times[index]?.push({
        step: Math.max(...all.map(([step]) => step)),
        collectives: all.reduce((sum, [, time]) => sum + time, 0) / (tensor * data),
        others: others(),
      });
    }
    steps++;
    if (world.rank === 0) {
      const last = times
        .map((all) => all.at(-1))
        .map((one) => one && `${one.step.toFixed(0)}${isQuiet(one) ? '' : '*'}`);
      process.stderr.write(`${round < 0 ? 'warming up' : `round ${round + 1}: ${last.join(', ')} ms`}\n`);
    }
  }
  const found = runs.map((run, i) => {
    const { calls = 0, bytes = 0 } = run?.collectives() ?? {};
    return {
      ...{ parameters: run?.parameters ?? 0, steps: times[i] ?? [], engine: engine.backend.description },
      ...{ collectiveCalls: Math.round(calls / steps), collectiveBytes: Math.round(bytes / steps) },
    };
  });
  for (const run of runs) run?.[Symbol.dispose]();
  return found;
};

export default rank;

/** @returns cores that other processes used since the call, on average: what the system counts as busy and we did not use. */
function watchOthers(): () => number {
  const busy = (): number =>
    cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0);
  const [start, before, own] = [performance.now(), busy(), process.cpuUsage()];
  return () => {
    const { user, system } = process.cpuUsage(own);
    return Math.max(0, (busy() - before - (user + system) / 1000) / (performance.now() - start));
  };
}

/** Sleeps until other programs leave the machine alone, rather than to take part in the crowd. */
function waitForQuiet(isLate: () => boolean): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  let isBusy = true;
  while (isBusy && !isLate()) {
    const others = watchOthers();
    Atomics.wait(sleeper, 0, 0, 300);
    isBusy = others() >= quietCores;
  }
}

function prepare(engine: Engine, group: Communicator, configuration: Configuration, work: ScalingWork) {
  const { tensor, layers, hidden, heads } = configuration;
  const { batch, seq, vocabulary, dropout } = work;
  const grid = createRankGrid(group, tensor);
  const sizes = { numLayers: layers, hiddenSize: hidden, numAttentionHeads: heads, maxPositionEmbeddings: seq };
  const model = new GptModel(
    gptConfig({ ...sizes, vocabSize: vocabulary, attentionDropout: dropout, hiddenDropout: dropout }),
    grid.tensor,
  );
  const { parameters } = model;
  parameters.allocate(engine);
  parameters.initialize(1234);
  const optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
  // each data-parallel rank has samples of its own
  let state = grid.data.rank + 1;
  const draw = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % vocabulary;
  };
  const count = batch * seq;
  const micro = {
    ...{ microBatchSize: batch, seqLength: seq, firstKey: undefined, firstSample: batch * grid.data.rank },
    tokens: Int32Array.from({ length: count }, draw),
    labels: Int32Array.from({ length: count }, draw),
    lossMask: new Float32Array(count).fill(1),
    positionIds: Int32Array.from({ length: count }, (_, i) => i % seq),
  };
  const stream = { next: () => micro, consumedSamples: 0 };
  const task = {
    ...{ engine, grid, parameters, trainBatches: () => stream, validationBatches: () => undefined },
    ...{ testBatches: () => undefined, countTerms: countLossTerms },
    forwardStep: gptForward(model),
  };
  const steps = new TrainingSteps(task, optimizer, false);
  const groups = [...new Set([group, grid.tensor, grid.data])];
  const sum = (key: 'seconds' | 'calls' | 'bytes'): number =>
    groups.reduce((total, { statistics, size }) => total + (size > 1 ? statistics[key] : 0), 0);
  return {
    parameters: parameters.count,
    step: (): void => void steps.begin(stream, 1, { learningRate: 1e-4, clipGrad: 1 }).settle(),
    collectives: () => ({ seconds: sum('seconds'), calls: sum('calls'), bytes: sum('bytes') }),
    [Symbol.dispose]() {
      steps[Symbol.dispose]();
      optimizer[Symbol.dispose]();
      parameters[Symbol.dispose]();
    },
  };
}
