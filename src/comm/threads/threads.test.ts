import { describe, expect, it } from 'vitest';
import { noCpuEngine } from '../../../test/support/engines.ts';
import { launch } from '../launch.ts';

const child = new URL('../conformance.child.ts', import.meta.url);
const sizes = [1, 2, 3, 4, 8];

describe('the communicator of threads', () => {
  it.each(sizes)('conforms on the reference engine with %d ranks', async (size) => {
    expect(await launch(size, child, { device: 'reference' })).toHaveLength(size);
  });

  if (noCpuEngine) it.skip(noCpuEngine, () => {});
  else {
    it.each(sizes)('conforms on the cpu engine with %d ranks', async (size) => {
      expect(await launch(size, child, { device: 'cpu' })).toHaveLength(size);
    });

    it('conforms with several threads per rank', async () => {
      expect(await launch(3, child, { device: 'cpu' }, { threadsPerRank: 2 })).toHaveLength(3);
    });
  }

  it('conforms with every collective checked', async () => {
    expect(await launch(3, child, { device: 'reference' }, { debugCollectives: true })).toHaveLength(3);
  });
});
