import { describe, expect, it } from 'vitest';
import { noCpuEngine } from '../../../test/support/engines.ts';
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

  it('conforms with several threads per rank', async () => {
    await conform(3, devices.slice(-1), { threadsPerRank: 2 });
  });

  it('conforms with every collective checked', async () => {
    await conform(3, devices.slice(-1), { debugCollectives: true });
  });
});
