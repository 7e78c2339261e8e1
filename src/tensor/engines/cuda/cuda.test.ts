import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectClose } from '../../../../test/support/closeness.ts';
import { emulatedCuda, noCpuEngine } from '../../../../test/support/engines.ts';
import { EngineError, UsageError } from '../../../base/errors.ts';
import { findCuda } from '../../../ffi/cuda/find.ts';
import { addForward } from '../../../ops/add/kernels.ts';
import { matrixProduct } from '../../../ops/matmul/kernels.ts';
import type { Engine } from '../../engine.ts';
import { defineKernel } from '../../kernel.ts';
import type { CudaStep } from '../../launch.ts';
import { Tensor } from '../../tensor.ts';
import { type CudaOptions, chosenAttention, createCudaEngine } from '../cuda.ts';
import { createEngine } from '../select.ts';
import { signaturesOf } from './signatures.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

const emulated = async (options: CudaOptions = {}): Promise<Engine> =>
  createCudaEngine({ libraries: findCuda({ MEGATRON_CUDA_LIBRARIES: await emulatedCuda() }), ...options });

describe('signaturesOf', () => {
  it('reads names and parameters, past bounds and comments', () => {
    const source = `
      // extern "C" __global__ void not_this(int a) {}
      extern "C" __global__ void __launch_bounds__(256)
          first(const Value* __restrict__ x, float* y, Index rows /* of x */, long long width, float epsilon) {}
      __device__ void helper(int a) {}
      extern "C" __global__ void second(unsigned int seed, const int32_t step, uint32_t site, const int* ids) {}`;
    expect(signaturesOf(source, 'a.cu')).toEqual([
      { name: 'first', parameters: ['pointer', 'pointer', 'i64', 'i64', 'f32'] },
      { name: 'second', parameters: ['u32', 'i32', 'u32', 'pointer'] },
    ]);
  });

  it('refuses parameters that a launch cannot give', () => {
    expect(() => signaturesOf('extern "C" __global__ void f(double x) {}', 'a.cu')).toThrow(/a\.cu: f .*double x/);
  });
});

describe('a machine without CUDA', () => {
  const nothing = { driver: undefined, nvrtc: undefined, cublasLt: undefined, nccl: undefined };

  it('says what is missing, and what to do', () => {
    expect(() => createCudaEngine({ libraries: nothing })).toThrow(/CUDA driver, NVRTC, cuBLASLt are not here/);
    expect(() => createCudaEngine({ libraries: { ...nothing, driver: '/x', nvrtc: '/y' } })).toThrow(
      /: cuBLASLt is not here/,
    );
  });
});

describe('the kernels of attention', () => {
  it('are wgmma on Hopper alone, where nothing else is said', () => {
    expect([80, 90, 100].map((architecture) => chosenAttention(undefined, architecture))).toEqual([
      'mma',
      'wgmma',
      'mma',
    ]);
    vi.stubEnv('MEGATRON_CUDA_ATTENTION', 'mma');
    expect(chosenAttention(undefined, 90)).toBe('mma');
    expect(chosenAttention('wgmma', 90)).toBe('wgmma');
  });

  it('are refused where they are unknown, or the GPU has no such instructions', () => {
    vi.stubEnv('MEGATRON_CUDA_ATTENTION', 'wmma');
    expect(() => chosenAttention(undefined, 90)).toThrow(UsageError);
    vi.stubEnv('MEGATRON_CUDA_ATTENTION', 'wgmma');
    expect(() => chosenAttention(undefined, 80)).toThrow(/needs a GPU of compute capability 9\.0, this one has 8\.0/);
  });
});

describe.skipIf(noCpuEngine)(`the cuda engine${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  const misplanned = (name: string, plan: (x: Tensor) => CudaStep) =>
    defineKernel(name, ['floats'], () => {}, { cuda: (_device, x) => [plan(x)] });

  it('holds plans to what the source declares', async () => {
    using engine = await emulated();
    using x = Tensor.zeros(engine, [3]);
    const launch = { function: 'add_forward', grid: [1], block: 32 } as const;
    const short = misplanned('short', (tensor) => ({ ...launch, arguments: [tensor] }));
    expect(() => short(engine, x)).toThrow(/add_forward takes 4 arguments, its plan gives 1/);
    const wrong = misplanned('wrong', (tensor) => ({ ...launch, arguments: [tensor, tensor, tensor, { i32: 3 }] }));
    expect(() => wrong(engine, x)).toThrow(/argument 3 is i32 in its plan and i64 in its source/);
    const missing = misplanned('missing', () => ({ ...launch, function: 'no_such_function', arguments: [] }));
    expect(() => missing(engine, x)).toThrow(/no_such_function/);
  });

  it('names kernel, launches and tensors of an error where it waits after each', async () => {
    vi.stubEnv('MEGATRON_CUDA_SYNC', '1');
    using engine = await emulated();
    using x = Tensor.zeros(engine, [3]);
    const wide = misplanned('wide', (tensor) => ({
      ...{ function: 'add_forward', grid: [1], block: 100_000 }, // more than a block may have
      arguments: [tensor, tensor, tensor, { i64: 3 }],
    }));
    expect(() => wide(engine, x)).toThrow(/wide on the GPU: cuLaunchKernel: .*add_forward \[1\] × 100000 of \(\[3\]\)/);
  });

  it('says what is held and what there is when memory is out', async () => {
    vi.stubEnv('CUDA_EMULATED_MEMORY', String(2 ** 20));
    using engine = await emulated();
    using held = Tensor.zeros(engine, [1000], { kind: 'optimizer' });
    expect(held.size).toBe(1000);
    expect(() => Tensor.empty(engine, [2 ** 20])).toThrow(
      /4.19 MB more for activations .*optimizer 4.10 kB.*Emulated GPU: .* free/,
    );
  });

  it('gives all its memory back when it ends, also what tensors hold', async () => {
    vi.stubEnv('CUDA_EMULATED_MEMORY', String(2 ** 22));
    for (let i = 0; i < 4; i++) {
      using engine = await emulated();
      Tensor.empty(engine, [3 * 2 ** 18]); // three quarters of all there is
    }
  });

  it('counts GPUs from 0, and gives each rank of a machine one', async () => {
    vi.stubEnv('CUDA_EMULATED_DEVICES', '2');
    await expect(emulated({ gpu: 2 })).rejects.toThrow(UsageError);
    vi.stubEnv('MEGATRON_LOCAL_RANK', '3');
    using shared = await emulated();
    expect(shared.backend.gpu?.number).toBe(1);
    vi.stubEnv('MEGATRON_GPU', '0');
    using named = await emulated();
    expect(named.backend.gpu?.number).toBe(0);
  });

  it.each(['MEGATRON_CUDA_SYNC', 'MEGATRON_CUDA_TUNE', 'MEGATRON_CUDA_GRAPHS'])('takes %s as 0 or 1', async (name) => {
    vi.stubEnv(name, 'yes');
    await expect(emulated()).rejects.toThrow(new RegExp(`${name} is yes`));
    vi.stubEnv(name, '0');
    using engine = await emulated();
    expect(engine.backend.capture === undefined).toBe(name === 'MEGATRON_CUDA_GRAPHS');
  });

  it('is what auto takes where there is a GPU', async () => {
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', await emulatedCuda());
    using engine = await createEngine();
    expect(engine.name).toBe('cuda');
    vi.stubEnv('MEGATRON_CUDA_LIBRARIES', '/no/such/folder');
    await expect(createEngine({ device: 'cuda' })).rejects.toThrow(EngineError);
    using other = await createEngine({ threads: 1 });
    expect(other.name).toBe('cpu');
  });

  it('multiplies the same by whichever algorithm was the fastest, also where the result is added to', async () => {
    using engine = await emulated({ measureProducts: true });
    engine.scope(() => {
      const numbers = (count: number, step: number): number[] =>
        Array.from({ length: count }, (_, i) => (i * step) % 7);
      const [a, b] = [Tensor.from(engine, numbers(6, 2), [2, 3]), Tensor.from(engine, numbers(12, 3), [4, 3])];
      const c = Tensor.from(engine, new Array<number>(8).fill(100), [2, 4]);
      matrixProduct(engine, a, b, c, 2, 4, 3, 0, 1, 1);
      const expected = Array.from({ length: 8 }, (_, at) => {
        const [i, j] = [Math.floor(at / 4), at % 4];
        return [0, 1, 2].reduce((sum, k) => sum + (((3 * i + k) * 2) % 7) * (((3 * j + k) * 3) % 7), 100);
      });
      expectClose(c.toArray(), expected, 0);
    });
  });

  it('tells the time of its work', async () => {
    using engine = await emulated();
    const { device } = engine.backend;
    const before = device?.mark?.();
    using x = Tensor.zeros(engine, [64]);
    addForward(engine, x, x, x, 64);
    const after = device?.mark?.();
    expect(before?.()).toBeGreaterThanOrEqual(0);
    expect(after?.()).toBeGreaterThanOrEqual(before?.() ?? Number.NaN);
  });

  it('does nothing for tensors without elements', async () => {
    using engine = await emulated();
    using x = Tensor.zeros(engine, [0]);
    addForward(engine, x, x, x, 0);
    expect(x.toArray()).toEqual([]);
  });
});
