/**
 * How far layouts are apart: the same small GPTs trained on one rank, over tensor- and data-parallel ranks on threads, and
 * under each mpirun of this machine. test/support/parity.ts says where the differences come from.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineError, UsageError } from '../src/base/errors.ts';
import { testedMpis } from '../test/mpi/launching.ts';
import {
  areIdentical,
  casesOf,
  type Deviations,
  deviations,
  type Layout,
  layoutName,
  type ParityCase,
  parityCases,
  runLayout,
} from '../test/support/parity.ts';
import { benchmarkOptions, report } from './measure.ts';

/** What every layout promises, relative to one rank. */
const promises = { unequalInitialWeights: 0, firstLoss: 1e-6, losses: 1e-5, gradients: 1e-5 } as const;

const threads = (tensor: number, data: number): Layout => ({ tensor, data });
const onThreads = [threads(2, 1), threads(3, 1), threads(4, 1), threads(1, 2), threads(2, 2), threads(1, 4)];

interface Row extends Deviations {
  readonly layout: string;
  readonly case: ParityCase;
  /** Whether a second run in the same layout gave the same bits. */
  readonly repeats: boolean;
  readonly keepsPromises: boolean;
}

export async function parityBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, { iterations: '20', mpi: 'all' });
  const iterations = Number(options.iterations);
  if (!(iterations >= 1)) throw new UsageError('--iterations must be 1 or more');
  for (const { skip } of testedMpis) if (skip !== undefined) process.stderr.write(`${skip}\n`);
  const mpis = testedMpis.filter(({ skip }) => skip === undefined && options.mpi === 'all');
  const underMpi = mpis.flatMap((mpi): Layout[] => [
    { tensor: 2, data: 1, mpi },
    { tensor: 2, data: 2, mpi },
  ]);

  const folder = mkdtempSync(join(tmpdir(), 'megatron-parity-'));
  try {
    const train = (layout: Layout, into: string) =>
      runLayout(layout, join(folder, into), casesOf(layout), () => iterations);
    const single = await train(threads(1, 1), 'first');
    const rows: Row[] = [];
    process.stderr.write(`${heading}\n`);
    for (const layout of [threads(1, 1), ...onThreads, ...underMpi]) {
      const runs = await train(layout, 'first');
      const again = await train(layout, 'again');
      for (const [name, run] of runs) {
        const found = deviations(run, single.get(name) ?? '');
        const repeats = areIdentical(run, again.get(name) ?? '');
        const within = Object.entries(promises).every(([key, most]) => found[key as keyof typeof promises] <= most);
        const keepsPromises = within && repeats && found.replicasAgree;
        const row: Row = { layout: layoutName(layout), case: name, ...found, repeats, keepsPromises };
        rows.push(row);
        process.stderr.write(`${line(row)}\n`);
      }
    }
    const largest = (key: 'firstLoss' | 'losses' | 'gradients'): number => Math.max(...rows.map((row) => row[key]));
    report('parity', {
      keepsPromises: rows.every((row) => row.keepsPromises),
      largest: { firstLoss: largest('firstLoss'), losses: largest('losses'), gradients: largest('gradients') },
      ...{ promises, options, cases: parityCases, load: loadavg()[0], cores: availableParallelism(), layouts: rows },
    });
    if (!rows.every((row) => row.keepsPromises)) throw new EngineError('a layout changed the result; see the table');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const widths = [22, 29, 9, 11, 11, 11, 11, 11, 8];
const columns = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' ');
const heading = columns([
  ...['layout', 'model', 'initial ≠', 'first loss', 'all losses', 'gradients', 'grad norms', 'weights', 'repeats'],
]);

function line(row: Row): string {
  const small = (value: number): string => (value === 0 ? '0' : value.toExponential(1));
  const words = columns([
    ...[row.layout, row.case, String(row.unequalInitialWeights), small(row.firstLoss), small(row.losses)],
    ...[small(row.gradients), small(row.gradNorms), small(row.finalWeights), row.repeats ? 'same' : 'DIFFER'],
  ]);
  return row.keepsPromises ? words : `${words}  BROKEN`;
}
