/** Launches ranks that compare parallel layers with their serial twins, and holds what they report to tolerances. */

import { beforeAll, describe, expect, it } from 'vitest';
import { launch } from '../../src/comm/launch.ts';
import { noCpuEngine } from './engines.ts';
import type { EngineDifferences } from './ranks/comparing.ts';

/** What is compared, and how far it may differ; 0 means the same bits. */
export type Tolerances = Readonly<Record<string, number>>;

/** @param module its default export is a `comparingRank`; it runs with 1, 2, 3 and 4 ranks as threads. */
export function describeComparisons(
  module: URL,
  tolerances: Tolerances,
  sizes: readonly number[] = [1, 2, 3, 4],
): void {
  const all: Tolerances = { ...tolerances, 'bytes never freed': 0 };
  describe.each(sizes)('at T = %d', (size) => {
    let ranks: readonly EngineDifferences[] = [];
    beforeAll(async () => {
      ranks = await launch<EngineDifferences>(size, module, undefined, { threadsPerRank: 1 });
    });
    for (const engine of ['reference', 'cpu'] as const) {
      if (engine === 'cpu' && noCpuEngine) {
        it.skip(noCpuEngine, () => {});
        continue;
      }
      it.each(Object.entries(all))(`on ${engine}: %s (%d)`, (what, tolerance) => {
        const differences = ranks.map((rank) => rank[engine]?.[what]);
        for (const [rank, found] of differences.entries()) {
          expect(found, `rank ${rank}; all: ${differences.join(', ')}`).toBeLessThanOrEqual(tolerance);
        }
      });
      it(`on ${engine}: nothing is compared without a tolerance`, () => {
        for (const rank of ranks)
          expect(Object.keys(rank[engine] ?? {}).toSorted()).toEqual(Object.keys(all).toSorted());
      });
    }
  });
}
