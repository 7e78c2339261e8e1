import { afterEach, expect, it, vi } from 'vitest';
import { describeOnGpus } from '../../../test/support/gpus.ts';
import { createCudaEngine } from '../../tensor/engines/cuda.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { launch } from '../launch.ts';
import { combinePlaces, maximumOfParts } from './kernels.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

const child = new URL('../conformance.child.ts', import.meta.url);

describeOnGpus('ranks that share a GPU', (emulated) => {
  it.each(emulated ? [2, 3] : [2, 3, 4, 8])('%d of them conform, without the host’s memory', async (size) => {
    vi.stubEnv('MEGATRON_GPU', '0');
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct');
    expect(await launch(size, child, { devices: ['cuda'] })).toEqual(new Array(size).fill('shared GPU'));
  });

  it('go through the host where they are told to', async () => {
    vi.stubEnv('MEGATRON_GPU', '0');
    vi.stubEnv('MEGATRON_CUDA_RANKS', 'host');
    expect(await launch(2, child, { devices: ['cuda'] })).toEqual(['host', 'host']);
  });
});

describeOnGpus('reductions of places', () => {
  it('give the maximum of more parts than a launch takes, and a NaN wherever it is', () => {
    using engine = createCudaEngine();
    const [parts, count] = [40, 21];
    const numbers = Array.from({ length: parts * count }, (_, i) => ((i * 37) % 101) - 150);
    const expected = Array.from({ length: count }, (_, i) =>
      Math.max(...Array.from({ length: parts }, (__, part) => numbers[part * count + i] as number)),
    );
    const broken = [0, 15, 16, 30, 39];
    for (const [i, part] of broken.entries()) {
      numbers[part * count + i] = Number.NaN;
      expected[i] = Number.NaN;
    }
    for (const dtype of ['f32', 'bf16'] as const) {
      using all = Tensor.from(engine, numbers, [parts, count], { dtype });
      using most = Tensor.empty(engine, [count], { dtype });
      maximumOfParts(all, most);
      expect(most.toArray()).toEqual(expected);
    }
  });

  it('refuse more places than a launch takes', () => {
    using engine = createCudaEngine();
    using tensor = Tensor.zeros(engine, [1]);
    const sources = new Array<bigint>(17).fill(tensor.address);
    expect(() => combinePlaces({ sources, count: 1, like: tensor, operation: 'sum' })).toThrow(/17 places, 16/);
  });
});
