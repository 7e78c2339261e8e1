/**
 * The layout never changes the result: small GPTs with dropout, trained on one rank and over tensor- and data-parallel ranks, on
 * threads and under MPI. `npm run bench -- parity` does the same at length and prints how far apart they are.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { testedMpis } from './mpi/launching.ts';
import { noCpuEngine } from './support/engines.ts';
import {
  areIdentical,
  deviations,
  type Layout,
  layoutName,
  type ParityCase,
  parityCaseNames,
  readRecord,
  runLayout,
} from './support/parity.ts';

const [plain, packed, wide] = parityCaseNames as [ParityCase, ParityCase, ParityCase];
/** The loss of the first twenty is what is promised; the others are there for their first steps. */
const iterations = (name: ParityCase): number => (name === plain ? 20 : name === packed ? 6 : 2);

const threads = (tensor: number, data: number): Layout => ({ tensor, data });

let folder: ReturnType<typeof temporaryFolder>;
/** By case: the folder of the run on one rank. */
let single: ReadonlyMap<ParityCase, string>;
/** By layout and case. */
const done = new Map<string, ReadonlyMap<ParityCase, string>>();

async function train(layout: Layout, names: readonly ParityCase[]) {
  const runs = await runLayout(layout, folder.path, names, iterations);
  done.set(layoutName(layout), runs);
  return runs;
}

/** What every layout must keep to. */
function expectParity(runs: ReadonlyMap<ParityCase, string>): void {
  expect(runs.size).toBeGreaterThan(0);
  for (const [name, run] of runs) {
    const found = deviations(run, single.get(name) ?? '');
    const what = `${name}: ${JSON.stringify(found)}`;
    expect(found.unequalInitialWeights, what).toBe(0);
    // support/parity.ts says where the rest comes from; what is measured is 3e-8, 2e-7 and 8e-7
    expect(found.firstLoss, what).toBeLessThanOrEqual(1e-6);
    expect(found.losses, what).toBeLessThanOrEqual(1e-5);
    expect(found.gradients, what).toBeLessThanOrEqual(1e-5);
    expect(found.replicasAgree, what).toBe(true);
  }
}

describe.skipIf(noCpuEngine)('layouts', () => {
  beforeAll(async () => {
    folder = temporaryFolder();
    single = await train(threads(1, 1), parityCaseNames);
  });
  afterAll(() => folder?.[Symbol.dispose]());

  it('on one rank: the model learns, so that there is something to compare', () => {
    for (const [name, run] of single) {
      const { losses, gradNorms } = readRecord(run);
      expect(losses).toHaveLength(iterations(name));
      expect(losses.at(-1)).toBeLessThan((name === plain ? 0.8 : 1) * (losses[0] ?? 0));
      expect(Math.min(...gradNorms)).toBeGreaterThan(0.1);
    }
  });

  it.each([
    [2, 1, [plain, packed]],
    [4, 1, [plain, wide]],
    [1, 2, [plain, packed]],
    [2, 2, [plain, packed, wide]],
    [1, 4, [plain, packed]],
    [3, 1, [plain, packed]],
  ])('T=%d, D=%d on threads is as one rank: %s', async (tensor, data, names) => {
    expectParity(await train(threads(tensor, data), names));
  });

  it('really gave data-parallel ranks unequal numbers of tokens that count', () => {
    const run = done.get(layoutName(threads(1, 4)))?.get(packed) ?? '';
    expect(new Set(readRecord(run).terms).size).toBeGreaterThan(1);
  });

  it('the same layout twice gives the same bits', async () => {
    const first = done.get(layoutName(threads(2, 2)));
    const again = await runLayout(threads(2, 2), join(folder.path, 'again'), [plain, packed], iterations);
    for (const [name, run] of again) expect(areIdentical(run, first?.get(name) ?? ''), name).toBe(true);
  });

  for (const mpi of testedMpis) {
    if (mpi.skip !== undefined) {
      it.skip(mpi.skip, () => {});
      continue;
    }
    it.each([
      [2, 1, [plain]],
      [2, 2, [plain, packed]],
    ])(
      `T=%d, D=%d under ${mpi.implementation} is as one rank, and as threads to the bit`,
      async (tensor, data, names) => {
        const runs = await train({ tensor, data, mpi }, names);
        expectParity(runs);
        const onThreads = done.get(layoutName(threads(tensor, data)));
        for (const [name, run] of runs) expect(areIdentical(run, onThreads?.get(name) ?? ''), name).toBe(true);
      },
    );
  }
});
