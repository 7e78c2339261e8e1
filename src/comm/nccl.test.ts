import { afterEach, describe, expect, it, vi } from 'vitest';
import { emulatedCuda, noCpuEngine } from '../../test/support/engines.ts';
import { launch } from './launch.ts';
import type { CapturedSteps } from './nccl.child.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(noCpuEngine)('NCCL, in software', () => {
  const onGpus = async (gpus: number): Promise<void> => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    vi.stubEnv('CUDA_EMULATED_DEVICES', String(gpus));
  };

  it('conforms, and joins each of three GPUs once', async () => {
    await onGpus(3);
    const child = new URL('./conformance.child.ts', import.meta.url);
    expect(await launch(3, child, { devices: ['cuda'] })).toEqual(new Array(3).fill('NCCL'));
  });

  it('is not for ranks of which two share a GPU: they go through the host, or say that they cannot do otherwise', async () => {
    await onGpus(2);
    const child = new URL('./conformance.child.ts', import.meta.url);
    expect(await launch(3, child, { devices: ['cuda'] })).toEqual(new Array(3).fill('host'));
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct');
    await expect(launch(3, child, { devices: ['cuda'] })).rejects.toThrow(/cannot sum on its GPUs/);
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'quickly');
    await expect(launch(3, child, { devices: ['cuda'] })).rejects.toThrow(/MEGATRON_CUDA_RANKS is quickly/);
  });

  it('gives the same in a captured graph, reductions beside other work included', async () => {
    await onGpus(2);
    vi.stubEnv('MEGATRON_CUDA_GRAPHS', '1'); // the ranks are threads
    let [sum, other] = [
      [0, 1],
      [0, 10],
    ];
    const expected = { sums: [] as number[], others: [] as number[], maxima: [2, 3, 4, 5] };
    const total = (values: readonly number[]): number => values.reduce((all, value) => all + value + 1, 0);
    for (let step = 0; step < 4; step++) {
      sum = new Array(2).fill(total(sum) + 1);
      other = new Array(2).fill(total(other));
      expected.sums.push(sum[0] ?? 0);
      expected.others.push(other[0] ?? 0);
    }
    for (const steps of await launch<CapturedSteps>(2, new URL('./nccl.child.ts', import.meta.url))) {
      expect(steps).toEqual({ capturable: [false, true], ...expected });
    }
  });
});
