/** Training on the cuda engine gives the CPU's losses, and its checkpoints move between the two. */

import { expect, it, vi } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { megatron } from './support/command.ts';
import { describeOnGpus } from './support/gpus.ts';
import { metricsOf, type RunOptions, runTiny, tinyArguments } from './support/tiny-run.ts';

/** The software CUDA needs seconds for what a GPU does in milliseconds. */
const timeout = 300_000;

/** Losses of runs in float32 on different engines: sums are taken in other orders, and 20 updates carry that on. */
const tolerance = 1e-5;
/** Activations of 16 bits are rounded in other places. */
const halfTolerance = 0.02;

const lossesOf = async (options: RunOptions): Promise<readonly number[]> => (await runTiny(options)).losses;

function expectNear(found: readonly number[], expected: readonly number[], within: number): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, loss] of found.entries()) {
    const wanted = expected[i] ?? Number.NaN;
    expect(Math.abs(loss - wanted), `loss ${i} is ${loss}, on the CPU ${wanted}`).toBeLessThanOrEqual(within);
  }
}

describeOnGpus('training', (emulated) => {
  const [all, some] = emulated ? [6, 2] : [20, 6];

  it(`gives the CPU’s losses over ${all} iterations, dropout on`, { timeout }, async () => {
    const cpu = await lossesOf({ device: 'cpu', trainIters: all });
    const cuda = await lossesOf({ device: 'cuda', trainIters: all });
    expectNear(cuda, cpu, tolerance);
    if (!emulated) expect(cuda.at(-1)).toBeLessThan((cuda[0] ?? 0) - 0.1); // it does learn
  });

  it('goes on from the CPU’s checkpoint, and the CPU from its', { timeout }, async () => {
    using folder = temporaryFolder();
    const run = { trainIters: 3 * some, save: folder.path, load: folder.path };
    const whole = await lossesOf({ device: 'cpu', trainIters: 3 * some });
    await runTiny({ ...run, device: 'cpu', load: undefined, exitInterval: some });
    await runTiny({ ...run, device: 'cuda', exitInterval: 2 * some });
    await runTiny({ ...run, device: 'cpu' });
    expectNear(
      metricsOf(folder.path).map(({ lmLoss }) => lmLoss),
      whole,
      tolerance,
    );
  });

  it.each([
    ['bf16', { bf16: true }, halfTolerance],
    ['bf16 and the tanh GELU', { bf16: true, openaiGelu: true }, halfTolerance],
    ['fp16 with loss scaling', { fp16: true }, halfTolerance],
    ['recomputation', { recomputeGranularity: 'full', recomputeMethod: 'uniform' }, tolerance],
  ] as const)('gives the CPU’s losses with %s', { timeout }, async (_, options, within) => {
    const [cpu, cuda] = [
      await lossesOf({ ...options, device: 'cpu', trainIters: some }),
      await lossesOf({ ...options, device: 'cuda', trainIters: some }),
    ];
    expectNear(cuda, cpu, within);
  });

  // its GELU is another way than that of the exact form: the slope comes with the product, of what was kept
  it('gives the same bits with every recomputation in bf16 with the tanh GELU', { timeout }, async () => {
    const run = { bf16: true, openaiGelu: true, device: 'cuda', trainIters: some } as const;
    const losses = await lossesOf(run);
    expect(await lossesOf({ ...run, recomputeGranularity: 'selective' })).toEqual(losses);
    expect(await lossesOf({ ...run, recomputeGranularity: 'full' })).toEqual(losses);
  });

  // NCCL wants a GPU for each rank
  const byNccl = [
    ['the two ranks of a layer, by NCCL', { tensorModelParallelSize: 2 }, '2'],
    ['two ranks that see other data, by NCCL', {}, '2'],
  ] as const;
  const shared = [
    ['the two ranks of a layer that share a GPU', { tensorModelParallelSize: 2 }, '1'],
    ['two ranks that share a GPU and see other data', {}, '1'],
  ] as const;
  it.each([...shared, ...(emulated ? byNccl : [])])(
    'gives with %s what one gives',
    { timeout },
    async (_, layout, gpus) => {
      vi.stubEnv('CUDA_EMULATED_DEVICES', gpus);
      if (gpus === '1') vi.stubEnv('MEGATRON_GPU', '0'); // also where there are more
      vi.stubEnv('MEGATRON_CUDA_RANKS', 'direct'); // the host's memory would give the same
      vi.stubEnv('MEGATRON_CUDA_GRAPHS', '1'); // also among threads by NCCL
      using folder = temporaryFolder();
      const trainIters = some + 1; // captured in the second, begun again with other numbers in the third
      const one = await lossesOf({ device: 'cuda', trainIters });
      const { code, stderr } = await megatron(
        tinyArguments({
          device: 'cuda',
          trainIters,
          ...layout,
          nprocPerNode: 2,
          save: folder.path,
        }),
      );
      vi.unstubAllEnvs();
      expect(code, stderr).toBe(0);
      expectNear(
        metricsOf(folder.path).map(({ lmLoss }) => lmLoss),
        one,
        tolerance,
      );
    },
  );
});
