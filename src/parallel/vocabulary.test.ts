/** The vocabulary split over ranks against the whole one. The comparisons are Megatron v1's (mpu/tests), and a few more. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { describeComparisons } from '../../test/support/comparisons.ts';
import { emulatedCuda, noCpuEngine } from '../../test/support/engines.ts';
import type { GpuLoss } from '../../test/support/ranks/vocabulary-gpu.rank.ts';
import { launch } from '../comm/launch.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the vocabulary over ranks', () => {
  describeComparisons(new URL('../../test/support/ranks/vocabulary.rank.ts', import.meta.url), {
    // Losses of logits ±1000 are near 1000, where neighbouring float32 numbers are 6e-5 apart: Megatron's 1e-6 can only be
    // meant relative to them. Gradients are at most 1, so theirs is absolute.
    'cross-entropy: loss': 1e-6,
    'cross-entropy: gradient': 1e-6,
    'cross-entropy over an intermediate result: loss': 1e-6,
    'cross-entropy over an intermediate result: gradient': 1e-6,
    'cross-entropy with padding: loss': 1e-6,
    'cross-entropy with padding: gradient': 1e-6,
    'cross-entropy with an empty part: loss': 1e-6,
    'cross-entropy with an empty part: gradient': 1e-6,
    // Each row has one owner and the others add zeros, in the order of the serial operator: not a bit may differ.
    'embedding of 48: forward': 0,
    'embedding of 48: weight gradient': 0,
    'embedding of 48: gradient of the padding': 0,
    'embedding of 50: forward': 0,
    'embedding of 50: weight gradient': 0,
    'embedding of 50: gradient of the padding': 0,
    // Products of 12 to 50 terms in float32 against double precision; Megatron's tolerance of its linear layers.
    'logits, gathered': 1e-6,
    'loss of logits': 1e-6,
    'loss of logits: dX': 1e-6,
    'loss of logits: dW': 1e-6,
  });
});

describe.skipIf(noCpuEngine)('the loss of logits over ranks on GPUs, in software', () => {
  it.each([
    ['that the ranks share', '1', 'shared GPU'],
    ['of their own', '2', 'NCCL'],
  ])('waits for no GPU %s, and tells of a NaN', async (_, gpus, way) => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    vi.stubEnv('CUDA_EMULATED_DEVICES', gpus);
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct');
    const rank = new URL('../../test/support/ranks/vocabulary-gpu.rank.ts', import.meta.url);
    for (const { waits, loss, gradient, diverged, ...group } of await launch<GpuLoss>(2, rank)) {
      expect(group).toEqual({ ways: [way, undefined], capturable: [false, true] }); // a thread of its own alone may
      expect(waits).toBe(0);
      // float32 sums of 22 powers against double precision
      expect(loss).toBeLessThan(1e-6);
      expect(gradient).toBeLessThan(1e-6);
      expect(diverged.map((one) => Number.isNaN(one))).toEqual([true, ...new Array<boolean>(6).fill(false)]);
    }
  });
});
