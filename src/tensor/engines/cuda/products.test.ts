import { afterEach, describe, expect, it, vi } from 'vitest';
import { expectClose } from '../../../../test/support/closeness.ts';
import { emulatedCuda, noCpuEngine, poisoned } from '../../../../test/support/engines.ts';
import { numbers } from '../../../../test/support/numbers.ts';
import type { PlannedProduct } from '../../../ffi/cuda/cublas-lt.ts';
import type { CudaDriver } from '../../../ffi/cuda/driver.ts';
import { findCuda } from '../../../ffi/cuda/find.ts';
import { CudaError } from '../../../ffi/cuda/status.ts';
import { geluDerivative, geluForms } from '../../../ops/gelu/kernels.ts';
import { linearForward, productGeluSlope } from '../../../ops/linear/kernels.ts';
import { matrixProduct } from '../../../ops/matmul/kernels.ts';
import type { Engine } from '../../engine.ts';
import { Tensor } from '../../tensor.ts';
import { type CudaOptions, createCudaEngine } from '../cuda.ts';
import { chooseFastest, StreamTimer } from './fastest.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

const emulated = async (options: CudaOptions = {}): Promise<Engine> =>
  poisoned(createCudaEngine({ libraries: findCuda({ MEGATRON_CUDA_LIBRARIES: await emulatedCuda() }), ...options }));

/**
 * 1 + 2⁻⁹ with a bias of 2⁻⁸, where bf16 has 1 and 1 + 2⁻⁷ and nothing between: the sum is nearer to the latter, but a product
 * that is rounded before the bias is added loses its 2⁻⁹, and then a tie goes to 1.
 */
function sumWithBias(engine: Engine): number[] {
  return engine.scope(() => {
    const x = Tensor.from(engine, [1, 2 ** -9], [1, 2], { dtype: 'bf16' });
    const weight = Tensor.from(engine, [1, 1], [1, 2], { dtype: 'bf16' });
    const bias = Tensor.from(engine, [2 ** -8], [1]);
    const y = Tensor.empty(engine, [1, 1], { dtype: 'bf16' });
    linearForward(engine, x, weight, bias, y, 1, 1, 2);
    return y.toArray();
  });
}
const [roundedOnce, roundedTwice] = [[1 + 2 ** -7], [1]];

const [rows, width, outputs] = [5, 16, 7];

/** (dy · weight) · gelu′(u) by the engine, and in double precision. */
function slopes(engine: Engine): { readonly found: number[]; readonly exact: number[] } {
  return engine.scope(() => {
    const half = (key: number, shape: readonly number[]): Tensor =>
      Tensor.from(engine, numbers({ key, shape, scale: 2 }), shape, { dtype: 'bf16' });
    const [dy, weight, u] = [half(1, [rows, outputs]), half(2, [outputs, width]), half(3, [rows, width])] as const;
    const du = Tensor.empty(engine, [rows, width], { dtype: 'bf16' });
    productGeluSlope(engine, dy, weight, u, du, rows, width, outputs, geluForms.tanh);
    const [left, right, input] = [dy, weight, u].map((tensor) => tensor.toArray()) as [number[], number[], number[]];
    const exact = input.map((at, i) => {
      const [row, column] = [Math.floor(i / width), i % width];
      let sum = 0;
      for (let k = 0; k < outputs; k++) sum += (left[row * outputs + k] ?? 0) * (right[k * width + column] ?? 0);
      return sum * geluDerivative(at, geluForms.tanh);
    });
    return { found: du.toArray(), exact };
  });
}

describe.skipIf(noCpuEngine)(`products${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  it('add the bias of a 16-bit result before they round it', async () => {
    using engine = await emulated();
    expect(sumWithBias(engine)).toEqual(roundedOnce);
    expect(sumWithBias(engine)).toEqual(roundedOnce); // by the plan that is known
  });

  it('leave to kernels what the library has no algorithm for, and say so once', async () => {
    vi.stubEnv('CUDA_EMULATED_EPILOGUES', '0');
    const said: string[] = [];
    using engine = await emulated({ notify: (message) => said.push(message) });
    expect(sumWithBias(engine)).toEqual(roundedTwice);
    expect(sumWithBias(engine)).toEqual(roundedTwice);
    const { found, exact } = slopes(engine);
    expectClose(found, exact, 2 ** -7);
    expect(said.filter((message) => message.includes('cuBLASLt'))).toEqual([
      'cuBLASLt has no algorithm for products of bf16 with bias, 1 × 1: a kernel does the rest',
      'cuBLASLt has no algorithm for products of bf16 with geluSlope, 5 × 16: a kernel does the rest',
    ]);
  });

  it('multiply by GELU’s slope before they round', async () => {
    using engine = await emulated();
    const { found, exact } = slopes(engine);
    expectClose(found, exact, 2 ** -8); // once: half a unit of bf16, and what float32 sums lose
  });

  it.each([false, true])('go on where the library refuses what it offered (measured: %s)', async (measureProducts) => {
    vi.stubEnv('CUDA_EMULATED_REFUSES', '1');
    using engine = await emulated({ measureProducts });
    expect(sumWithBias(engine)).toEqual(roundedOnce);
    const { found, exact } = slopes(engine);
    expectClose(found, exact, 2 ** -8);
    engine.scope(() => {
      const a = Tensor.from(engine, [1, 2, 3, 4], [2, 2]);
      const c = Tensor.from(engine, [10, 20, 30, 40], [2, 2]);
      for (let i = 0; i < 2; i++) matrixProduct(engine, a, a, c, 2, 2, 2, 0, 0, 1);
      expect(c.toArray()).toEqual([24, 40, 60, 84]); // twice [7, 10, 15, 22] more, each once
    });
  });

  it('are taken as the library orders them where there is no memory to measure in', async () => {
    vi.stubEnv('CUDA_EMULATED_MEMORY', String(40 * 2 ** 20)); // 32 MiB of it cuBLASLt's workspace
    using engine = await emulated({ measureProducts: true });
    engine.scope(() => {
      const n = 1200;
      const a = Tensor.from(engine, new Array<number>(n).fill(2), [n, 1]);
      const c = Tensor.empty(engine, [n, n]); // 5.8 MB, and there is no room for another
      matrixProduct(engine, a, a, c, n, n, 1, 0, 1, 0);
      expect(new Set(c.toArray())).toEqual(new Set([4]));
    });
  });
});

describe('chooseFastest', () => {
  /** Algorithms by what they take; undefined for those that are refused. */
  function choice(times: readonly (number | undefined)[]) {
    let chosen = -1;
    let clock = 0;
    const planned: PlannedProduct = {
      algorithms: times.length,
      choose: (index) => {
        chosen = index;
      },
      run: () => {
        const time = times[chosen];
        if (time === undefined) throw new CudaError('cublasLtMatmul', 15, 'CUBLAS_STATUS_NOT_SUPPORTED', '');
        clock += time;
      },
      [Symbol.dispose]: () => {},
    };
    const marks: number[] = [];
    const driver = {
      cuEventCreate: () => {},
      cuEventRecord: () => marks.push(clock),
      cuEventSynchronize: () => {},
      cuEventElapsedTime: (place: DataView) => place.setFloat32(0, (marks.at(-1) ?? 0) - (marks.at(-2) ?? 0), true),
      cuEventDestroy_v2: () => {},
    } as unknown as CudaDriver;
    using timer = new StreamTimer(driver, 0n);
    const { index } = chooseFastest(planned, () => planned.run({ a: 0n, b: 0n, d: 0n }, false, 0n, 0n), timer);
    expect(chosen).toBe(index);
    return index;
  }

  it('takes the fastest, but keeps the library’s first for a gain that is noise', () => {
    expect(choice([1, 0.9, 0.5, 0.6])).toBe(2);
    expect(choice([1, 0.99, 0.985])).toBe(0);
  });

  it('passes over what is refused', () => {
    expect(choice([undefined, 1, 0.99])).toBe(1);
    expect(choice([undefined, undefined, 3, 2])).toBe(3);
    expect(() => choice([undefined, undefined])).toThrow(/NOT_SUPPORTED/);
  });
});
