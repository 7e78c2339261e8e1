/** Gradients summed over ranks in buckets, while backward goes on: the same bits as sums by hand in rank order. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { describeComparisons } from '../../test/support/comparisons.ts';
import { emulatedCuda, noCpuEngine } from '../../test/support/engines.ts';
import type { EngineDifferences } from '../../test/support/ranks/comparing.ts';
import { launch } from '../comm/launch.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

const names = ['a bucket for each parameter', 'buckets of a hundred', 'one bucket a group'];
const checks = ['wrong numbers', 'starts that overlap nothing', 'buckets missed or twice'];

const rank = new URL('../../test/support/ranks/data-parallel.rank.ts', import.meta.url);

describe('GradientReducer', () => {
  describeComparisons(
    rank,
    Object.fromEntries(names.flatMap((name) => checks.map((check) => [`${name}: ${check}`, 0]))),
  );

  // NCCL in software adds up in rank order, too; a sum that begins before its gradients are there, or is used before it is, shows
  it.skipIf(noCpuEngine).each([
    ['that the ranks share', '1'],
    ['of their own, by NCCL', '3'],
  ])('sums on GPUs %s while backward goes on, in software', async (_, gpus) => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    vi.stubEnv('CUDA_EMULATED_DEVICES', gpus);
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct');
    for (const { cuda = {} } of await launch<EngineDifferences>(3, rank, { engines: ['cuda'] })) {
      expect(Object.keys(cuda)).toHaveLength(names.length * checks.length + 1);
      expect(new Set(Object.values(cuda)), JSON.stringify(cuda)).toEqual(new Set([0]));
    }
  });
});
