/** The software CUDA computes what CUDA would, and shows what CUDA leaves undefined: else tests that run on it prove nothing. */

import { beforeAll, describe, expect, it } from 'vitest';
import { findCompiler } from '../src/ffi/compile.ts';
import { findCuda } from '../src/ffi/cuda/find.ts';
import { Out } from '../src/ffi/cuda/status.ts';
import { buildCudaEmulator } from './support/cuda-emulator/library.ts';
import { openTestDevice, type TestDevice } from './support/kernel-text.ts';

const compiler = await findCompiler();
const threads = 64;

describe.skipIf(!compiler)('the software CUDA', () => {
  let device: TestDevice;
  beforeAll(async () => {
    if (!compiler) return;
    device = openTestDevice(findCuda({ MEGATRON_CUDA_LIBRARIES: await buildCudaEmulator(compiler) }));
  });

  /** What one block (or more) of a kernel leaves in a float for each thread. */
  const outputsOf = (
    body: string,
    { flags = [], ...options }: { blocks?: number; sharedBytes?: number; flags?: string[] } = {},
  ): number[] => device.run({ body, threads, prelude: flags.join('\n'), ...options });
  const each = (value: (thread: number) => number): number[] => Array.from({ length: threads }, (_, i) => value(i));

  it('gives each thread its place', () => {
    expect(outputsOf('out[blockIdx.x * blockDim.x + i] = 100 * blockIdx.x + i;', { blocks: 2 })).toEqual(
      Array.from({ length: 2 * threads }, (_, i) => 100 * Math.floor(i / threads) + (i % threads)),
    );
  });

  it('passes numbers between the lanes of a warp, and the votes of all', () => {
    const body =
      'out[i] = __shfl_xor_sync(~0u, i, 5) + 100 * __shfl_sync(~0u, i, 7) + 10000 * __popc(__ballot_sync(~0u, i % 3 == 0));';
    expect(outputsOf(body)).toEqual(each((i) => (i ^ 5) + 100 * (Math.floor(i / 32) * 32 + 7) + 110_000));
  });

  it('shares memory within a block, from barrier to barrier', () => {
    const turned = '__shared__ float all[64]; all[i] = i; __syncthreads(); out[i] = all[63 - i];';
    expect(outputsOf(turned)).toEqual(each((i) => 63 - i));
  });

  it('shows a barrier that is missing', () => {
    const body =
      '__shared__ float all[64]; all[i] = 0; __syncthreads(); all[i] = i; out[blockIdx.x * 64 + i] = all[63 - i];';
    const outputs = outputsOf(body, { blocks: 2 });
    // in rising order the lower half reads too early, in falling order the upper half
    expect(outputs.slice(0, 64)).not.toEqual(each((i) => 63 - i));
    expect(outputs.slice(64)).not.toEqual(outputs.slice(0, 64));
  });

  it('fails where threads wait at different barriers', () => {
    // threads that have ended count as there
    expect(() =>
      outputsOf('if (i < 32) __syncwarp(); else __syncthreads(); if (i == 0) __syncthreads();'),
    ).not.toThrow();
    expect(() => outputsOf('if (i % 2) __syncwarp(); else __syncthreads(); out[i] = 0;')).toThrow(/LAUNCH_FAILED/);
  });

  it('poisons shared memory, and copies no sooner than waited for', () => {
    const flags = ['#include "tensor-cores.cuh"'];
    const copy =
      'DYNAMIC_SHARED(float, tile); if (i < 16) copyAsync(tile + 4 * i, out + 4 * i, i % 2 == 0); commitCopies();';
    const wait = 'waitForCopies<0>(); __syncthreads();';
    const start = 'out[i] = i; __syncthreads();';
    const all = { flags, sharedBytes: 256 };
    expect(outputsOf(`${start} ${copy} out[i] = tile[i];`, all)).toEqual(each(() => Number.NaN));
    expect(outputsOf(`${start} ${copy} ${wait} out[i] = tile[i];`, all)).toEqual(each((i) => (i % 8 < 4 ? i : 0)));
  });

  it('multiplies tiles as tensor cores do', () => {
    const flags = ['#define VALUE_BF16', '#include "tensor-cores.cuh"'];
    // A[r, k] = r + k is read through ldmatrix; B[k, n] = 1 where k = 2n: C[r, n] = A[r, 2n]
    const body = `
      __shared__ __align__(16) Value a[16 * 16], b[16 * 16];
      for (int at = i; at < 256; at += 64) {
        a[at] = fromFloat<Value>(at / 16 + at % 16);
        b[at] = fromFloat<Value>(at % 16 == 2 * (at / 16) ? 1.0f : 0.0f);
      }
      __syncthreads();
      unsigned left[4], right[4];
      loadTile<false, 16>(left, a);
      loadColumns<16>(right, b);
      float c[4] = {};
      multiplyTile<Value>(c, left, right[0], right[1]);
      if (i < 32) out[i] = c[0] + 100 * c[3];`;
    // c[0]: row g, column 2t; c[3]: row g + 8, column 2t + 1
    const expected = (i: number): number => {
      const [g, t] = [Math.floor(i / 4), i % 4];
      return g + 4 * t + 100 * (g + 8 + 4 * t + 2);
    };
    expect(outputsOf(body, { flags }).slice(0, 32)).toEqual(each(expected).slice(0, 32));
  });

  it('reports what does not compile, with its line', () => {
    expect(() => outputsOf('int x = ;')).toThrow(/test\.cu:2:.*error/);
  });

  it('has no more memory than it says', () => {
    const result = new Out();
    const { driver } = device;
    driver.cuMemGetInfo_v2(result.place, new Out().place);
    expect(() => driver.cuMemAlloc_v2(result.place, result.size + 1)).toThrow(/OUT_OF_MEMORY/);
  });
});
