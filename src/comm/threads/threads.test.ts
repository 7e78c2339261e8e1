import { describe, expect, it, vi } from 'vitest';
import { emulatedCuda, noCpuEngine } from '../../../test/support/engines.ts';
import { type LaunchOptions, launch } from '../launch.ts';

const child = new URL('../conformance.child.ts', import.meta.url);
const conform = (size: number, devices: readonly string[], options: LaunchOptions = {}) =>
  expect(launch(size, child, { devices }, options)).resolves.toHaveLength(size);

describe('the communicator of threads', () => {
  const devices = noCpuEngine ? ['reference'] : ['reference', 'cpu'];
  if (noCpuEngine) it.skip(noCpuEngine, () => {});

  it.each([1, 2, 3, 4, 8])(`conforms with %d ranks on ${devices.join(' and ')}`, async (size) => {
    await conform(size, devices);
  });

  it.skipIf(noCpuEngine).each([
    ['a GPU that two ranks share', 2, '1'],
    ['a GPU for each of three ranks, by NCCL', 3, '3'],
  ])('conforms with tensors on %s, in software', async (_, size, devices) => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    vi.stubEnv('CUDA_EMULATED_DEVICES', devices);
    await conform(size, ['cuda']);
    vi.unstubAllEnvs();
  });

  it('conforms with several threads per rank', async () => {
    await conform(3, devices.slice(-1), { threadsPerRank: 2 });
  });

  it('conforms with every collective checked', async () => {
    await conform(3, devices.slice(-1), { debugCollectives: true });
  });
});
