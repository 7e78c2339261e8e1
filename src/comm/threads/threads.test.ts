import { afterEach, describe, expect, it, vi } from 'vitest';
import { emulatedCuda, noCpuEngine } from '../../../test/support/engines.ts';
import { type LaunchOptions, launch } from '../launch.ts';

const child = new URL('../conformance.child.ts', import.meta.url);
const conform = (size: number, devices: readonly string[], options: LaunchOptions = {}) =>
  expect(launch(size, child, { devices }, options)).resolves.toHaveLength(size);

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the communicator of threads', () => {
  const devices = noCpuEngine ? ['reference'] : ['reference', 'cpu'];
  if (noCpuEngine) it.skip(noCpuEngine, () => {});

  it.each([1, 2, 3, 4, 8])(`conforms with %d ranks on ${devices.join(' and ')}`, async (size) => {
    await conform(size, devices);
  });

  it.skipIf(noCpuEngine).each([
    ['a GPU that two ranks share', 2, '1', 'shared GPU'],
    ['a GPU that three ranks share', 3, '1', 'shared GPU'],
    ['a GPU for each of three ranks, by NCCL', 3, '3', 'NCCL'],
    ['two GPUs for three ranks, through the host', 3, '2', 'host'],
  ])('conforms with tensors on %s, in software', async (_, size, devices, way) => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    vi.stubEnv('CUDA_EMULATED_DEVICES', devices);
    const ways = await launch(size, child, { devices: ['cuda'] });
    expect(ways).toEqual(Array(size).fill(way));
  });

  it.skipIf(noCpuEngine)(
    'goes through the host where it is told to, and says where it cannot do otherwise',
    async () => {
      vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
      vi.stubEnv('MEGATRON_CUDA_RANKS', 'host');
      expect(await launch(2, child, { devices: ['cuda'] })).toEqual(['host', 'host']);
      vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct');
      vi.stubEnv('CUDA_EMULATED_DEVICES', '2');
      await expect(launch(3, child, { devices: ['cuda'] })).rejects.toThrow(/cannot sum on its GPUs/);
    },
  );

  it('conforms with several threads per rank', async () => {
    await conform(3, devices.slice(-1), { threadsPerRank: 2 });
  });

  it('conforms with every collective checked', async () => {
    await conform(3, devices.slice(-1), { debugCollectives: true });
  });
});
