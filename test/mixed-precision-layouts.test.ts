/** Training in bf16 and fp16 over tensor- and data-parallel ranks: as on one rank up to 16-bit roundings, the same bits every time. */

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
import type { RunOptions } from './support/tiny-run.ts';

const [plain] = parityCaseNames as [ParityCase];
/** Where the scale moves, it needs time for it. */
const iterationsOf = (format: Format): number => (format === 'fp16 that overflows' ? 20 : 10);

const formats = {
  bf16: { bf16: true },
  fp16: { fp16: true, lossScale: 4096 },
  // overflows at first, and again after each growth of the scale
  'fp16 that overflows': { fp16: true, initialLossScale: 2 ** 30, hysteresis: 1, lossScaleWindow: 4 },
} satisfies Record<string, RunOptions>;
type Format = keyof typeof formats;

/**
 * Where T ranks split a product, each rounds its part of a sum to 16 bits before the parts are added (a relative 2⁻⁹ in bf16, 2⁻¹² in
 * f16); a layout of D ranks adds the same gradients in another order only, until a weight's 16-bit copy rounds the other way. Gradients
 * are relative to their tensor's largest. Measured over 20 iterations: 7·10⁻⁵ and 8·10⁻³ in bf16, 1·10⁻⁵ and 8·10⁻⁴ in f16.
 */
const tolerances = {
  bf16: { losses: 5e-4, gradients: 3e-2 },
  fp16: { losses: 1e-4, gradients: 3e-3 },
} as const;

const layouts: readonly (readonly [tensor: number, data: number])[] = [
  [2, 1],
  [1, 2],
  [2, 2],
];

describe.skipIf(noCpuEngine)('16-bit layouts', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  const done = new Map<string, string>();

  async function train(format: Format, layout: Layout, place = 'first'): Promise<string> {
    const into = join(folder.path, format, place);
    const runs = await runLayout(layout, into, [plain], () => iterationsOf(format), formats[format]);
    const run = runs.get(plain) ?? '';
    if (place === 'first') done.set(`${format} ${layoutName(layout)}`, run);
    return run;
  }
  const keptRun = (format: Format, layout: Layout): string => done.get(`${format} ${layoutName(layout)}`) ?? '';

  beforeAll(async () => {
    folder = temporaryFolder();
    for (const format of Object.keys(formats) as Format[]) await train(format, { tensor: 1, data: 1 });
  });
  afterAll(() => folder?.[Symbol.dispose]());

  describe.each(['bf16', 'fp16'] as const)('%s', (format) => {
    it.each(layouts)('T=%d, D=%d on threads is as one rank', async (tensor, data) => {
      const found = deviations(await train(format, { tensor, data }), keptRun(format, { tensor: 1, data: 1 }));
      const what = JSON.stringify(found);
      expect(found.unequalInitialWeights, what).toBe(0);
      expect(found.losses, what).toBeLessThanOrEqual(tolerances[format].losses);
      expect(found.gradients, what).toBeLessThanOrEqual(tolerances[format].gradients);
      expect(found.replicasAgree, what).toBe(true);
    });

    it('the same layout twice gives the same bits', async () => {
      const layout = { tensor: 2, data: 2 };
      expect(areIdentical(await train(format, layout, 'again'), keptRun(format, layout))).toBe(true);
    });

    for (const mpi of testedMpis) {
      if (mpi.skip !== undefined) {
        it.skip(mpi.skip, () => {});
        continue;
      }
      it(`T=2, D=2 under ${mpi.implementation} gives the bits of threads`, async () => {
        const run = await train(format, { tensor: 2, data: 2, mpi });
        expect(areIdentical(run, keptRun(format, { tensor: 2, data: 2 }))).toBe(true);
      });
    }
  });

  it.each(layouts)('T=%d, D=%d: what overflows is skipped by all ranks or by none', async (tensor, data) => {
    const format = 'fp16 that overflows';
    const { skipped, replicasAgree, losses } = readRecord(await train(format, { tensor, data }));
    expect(skipped).toHaveLength(tensor * data);
    const [first = []] = skipped;
    for (const rank of skipped) expect(rank).toEqual(first);
    expect(replicasAgree).toBe(true);
    expect(first.length).toBeGreaterThan(3);
    expect(first.length).toBeLessThan(iterationsOf(format) - 3);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 0.2);
    // and they are those that one rank skips: an overflow is no matter of rounding here
    expect(first).toEqual(readRecord(keptRun(format, { tensor: 1, data: 1 })).skipped[0]);
  });
});
