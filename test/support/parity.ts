/**
 * The same training in different layouts, and how far the results are apart.
 *
 * Initial weights are drawn by global position, so they are the same bits. Everything later is the same arithmetic but for the
 * order of float32 additions: a product whose inner dimension is split over ranks is added up in T parts (g, f and the
 * vocabulary-parallel Σ exp), and gradients are added up in D parts. One addition is off by at most 2⁻²⁴ = 6·10⁻⁸ of its
 * result, and AdamW divides each gradient by its own size, so that rounding in tiny gradients can move a weight by a
 * visible part of the learning rate; these moves have no direction, hence the losses stay together.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Checkpoint, openCheckpoint } from '../../src/checkpoint/index.ts';
import { launch } from '../../src/comm/launch.ts';
import { runRanks, type TestedMpi } from '../mpi/launching.ts';
import type { ParityRecord, ParityWork } from './ranks/parity.rank.ts';
import type { RunOptions } from './tiny-run.ts';

export interface Layout {
  /** T */
  readonly tensor: number;
  /** D */
  readonly data: number;
  /** Processes under this MPI; threads of one process where not given. */
  readonly mpi?: TestedMpi;
}

export const layoutName = ({ tensor, data, mpi }: Layout): string =>
  `T=${tensor} D=${data} ${mpi?.implementation ?? 'threads'}`;

const common: RunOptions = {
  ...{ mockData: true, numLayers: 2, hiddenSize: 96, evalIters: 0, attentionDropout: 0.1, hiddenDropout: 0.1 },
  ...{ lr: 0.001, minLr: 0.0001, lrWarmupIters: 2, lrDecayIters: 20 },
};

/** Training runs; 12 heads divide by T = 1, 2, 3, 4, 6 heads by 1, 2, 3, 16 heads by 1, 2, 4. */
export const parityCases = {
  '12 heads, vocabulary 257': {
    ...{ ...common, numAttentionHeads: 12, seqLength: 64, vocabSize: 257, microBatchSize: 2, globalBatchSize: 8 },
  },
  // odd lengths, packed documents; ranks have unequal numbers of tokens that count
  '6 heads, packed documents': {
    ...{ ...common, numAttentionHeads: 6, seqLength: 37, vocabSize: 101, microBatchSize: 3, globalBatchSize: 12 },
    ...{ resetPositionIds: true, resetAttentionMask: true, eodMaskLoss: true },
  },
  '16 heads, vocabulary 50,257': {
    ...{ ...common, hiddenSize: 64, numAttentionHeads: 16, seqLength: 17, vocabSize: 50257 },
    ...{ microBatchSize: 1, globalBatchSize: 4 },
  },
} satisfies Record<string, RunOptions>;

export type ParityCase = keyof typeof parityCases;
export const parityCaseNames = Object.keys(parityCases) as ParityCase[];

/** The cases whose heads a layout can split. */
export const casesOf = ({ tensor }: Layout, names: readonly ParityCase[] = parityCaseNames): ParityCase[] =>
  names.filter((name) => parityCases[name].numAttentionHeads % tensor === 0);

/** Trains the cases in a layout, with `extra` options. @returns the folder of each */
export async function runLayout(
  layout: Layout,
  folder: string,
  names: readonly ParityCase[],
  iterations: (name: ParityCase) => number,
  extra: RunOptions = {},
): Promise<ReadonlyMap<ParityCase, string>> {
  const runs = names.map((name) => ({
    options: { ...parityCases[name], ...extra, trainIters: iterations(name) },
    folder: join(folder, layoutName(layout), name),
  }));
  const work: ParityWork = { tensorParallelSize: layout.tensor, runs };
  const ranks = layout.tensor * layout.data;
  if (layout.mpi === undefined) {
    await launch(ranks, new URL('./ranks/parity.rank.ts', import.meta.url), work, { threadsPerRank: 1 });
  } else {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${layoutName(layout)}.json`);
    writeFileSync(file, JSON.stringify(work));
    const { code, stdout, stderr } = await runRanks(layout.mpi, ranks, '../support/ranks/parity.mpi.ts', file);
    if (code !== 0) throw new Error(`${layoutName(layout)} failed:\n${stdout}\n${stderr}`);
  }
  return new Map(names.map((name, i) => [name, runs[i]?.folder ?? '']));
}

const recordOf = (checkpoint: Checkpoint): ParityRecord => checkpoint.manifest.trainingState as unknown as ParityRecord;

export const readRecord = (folder: string): ParityRecord => {
  using checkpoint = openCheckpoint(folder);
  return recordOf(checkpoint);
};

/** How far a run is from another; relative but for the counts. */
export interface Deviations {
  /** Initial weights that are not the same to the last bit. */
  readonly unequalInitialWeights: number;
  readonly firstLoss: number;
  /** The largest of all iterations. */
  readonly losses: number;
  readonly gradNorms: number;
  /** Of step 1, each relative to its tensor's largest; the largest of all tensors, and which that is. */
  readonly gradients: number;
  readonly worstGradient: string;
  /** Of the trained weights, likewise. */
  readonly finalWeights: number;
  readonly replicasAgree: boolean;
}

export function deviations(folder: string, baseline: string): Deviations {
  using found = openCheckpoint(folder);
  using expected = openCheckpoint(baseline);
  const [record, wanted] = [recordOf(found), recordOf(expected)];
  const names = (prefix: string): string[] => expected.names().filter((name) => name.startsWith(prefix));
  const floats = (checkpoint: Checkpoint, name: string): Float32Array => {
    const bytes = checkpoint.read(name).slice();
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  };
  const worst = (prefix: string): { relative: number; name: string } =>
    names(prefix)
      .map((name) => ({ name, relative: relativeDifference(floats(found, name), floats(expected, name)) }))
      .reduce((a, b) => (b.relative > a.relative ? b : a), { relative: 0, name: '' });
  const gradients = worst('gradient.');
  if (found.names().length !== expected.names().length) throw new Error('the layouts have different parameters');
  return {
    unequalInitialWeights: names('initial.').reduce((sum, name) => {
      const [a, b] = [floats(found, name), floats(expected, name)];
      return sum + a.filter((value, i) => !Object.is(value, b[i])).length;
    }, 0),
    firstLoss: relativeDifference(record.losses.slice(0, 1), wanted.losses.slice(0, 1)),
    losses: Math.max(...record.losses.map((loss, i) => relativeDifference([loss], wanted.losses.slice(i, i + 1)))),
    gradNorms: Math.max(
      ...record.gradNorms.map((norm, i) => relativeDifference([norm], wanted.gradNorms.slice(i, i + 1))),
    ),
    gradients: gradients.relative,
    worstGradient: gradients.name.replace('gradient.', ''),
    finalWeights: worst('final.').relative,
    replicasAgree: record.replicasAgree,
  };
}

/** Largest difference over the largest expected number; Infinity where lengths differ or something is no number. */
function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [largest, difference] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i] as number, expected[i] as number];
    if (!Number.isFinite(a) || !Number.isFinite(e)) return Number.POSITIVE_INFINITY;
    largest = Math.max(largest, Math.abs(e));
    difference = Math.max(difference, Math.abs(a - e));
  }
  return difference === 0 ? 0 : difference / largest;
}

/** Whether two runs have the same losses and tensors to the last bit. */
export function areIdentical(folder: string, other: string): boolean {
  using a = openCheckpoint(folder);
  using b = openCheckpoint(other);
  const [names, others] = [a.names(), b.names()];
  return (
    names.join() === others.join() &&
    JSON.stringify(recordOf(a)) === JSON.stringify(recordOf(b)) &&
    names.every((name) => Buffer.compare(a.read(name), b.read(name)) === 0)
  );
}
