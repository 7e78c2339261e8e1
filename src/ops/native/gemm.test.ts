import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { cpuEngine, exactEngine, noCpuEngine } from '../../../test/support/engines.ts';
import { type NumberSpec, numbers } from '../../../test/support/numbers.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { type MatrixProvider, matrixProviders } from '../../tensor/engines/cpu.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { matrixProduct } from '../matmul/kernels.ts';

type Size = readonly [m: number, n: number, k: number];

/** The element types of the operands and of C; the engine's float type where not given. */
interface Types {
  readonly operands?: DType;
  readonly result?: DType;
}

/** C = op(A)·op(B), added to numbers that are there when `accumulate`. */
function product(
  engine: Engine,
  [m, n, k]: Size,
  [transposeA, transposeB, accumulate]: readonly [number, number, number],
  { operands = engine.floatType, result = operands }: Types = {},
): number[] {
  using a = Tensor.from(engine, steps({ shape: [m, k], key: 1 }), [m, k], { dtype: operands });
  using b = Tensor.from(engine, steps({ shape: [k, n], key: 2 }), [k, n], { dtype: operands });
  using c = accumulate
    ? Tensor.from(engine, steps({ shape: [m, n], key: 3 }), [m, n], { dtype: result })
    : Tensor.empty(engine, [m, n], { dtype: result }); // NaN: must not be read where nothing is added to
  matrixProduct(engine, a, b, c, m, n, k, transposeA, transposeB, accumulate);
  return c.toArray();
}

/** Numbers in steps of 1/64, which every type has exactly. */
const steps = (spec: NumberSpec): number[] => Array.from(numbers(spec), (value) => Math.round(value * 64) / 64);

/** The provider's engine, or undefined where this machine has no such library. */
const engineOf = (matrixProvider: MatrixProvider): Promise<Engine | undefined> =>
  cpuEngine({ matrixProvider }).catch(() => undefined);

// Whole tiles, single rows and columns, every kind of tail, few rows (their own path), several blocks of depth and of columns.
const sizes: readonly Size[] = [
  ...([
    [1, 1, 1],
    [1, 33, 70],
    [2, 5, 513],
    [3, 64, 16],
    [4, 31, 3],
    [11, 32, 40],
    [12, 35, 65],
    [13, 32, 8],
  ] as const),
  ...([
    [24, 64, 512],
    [37, 70, 130],
    [65, 257, 33],
    [130, 3, 1100],
    [5, 3200, 7],
    [3100, 5, 7],
  ] as const),
];

describe.skipIf(noCpuEngine)('matrix products', () => {
  it.for(matrixProviders)('agree with float64 in every form and size: %s', async (provider, context) => {
    using engine = await engineOf(provider);
    if (!engine) {
      expect(provider).not.toBe('own');
      return context.skip(`skipped: no ${provider} on this machine`);
    }
    using exact = exactEngine();
    for (const size of sizes) {
      for (const form of [0, 1, 2, 3, 4, 5, 6, 7]) {
        const flags = [form & 1, (form >> 1) & 1, form >> 2] as const;
        // sums of up to 1100 products, each rounded to 6e-8
        expectClose(product(engine, size, flags), product(exact, size, flags), 3e-6, `${size} ${flags}`);
      }
    }
  });

  it('give the same bits for every thread count with our own kernel', async () => {
    const size = [150, 230, 1030] as const;
    const results: number[][] = [];
    for (const threads of [1, 2, 3, 2]) {
      using engine = await cpuEngine({ threads, matrixProvider: 'own' });
      results.push(product(engine, size, [0, 1, 0]));
    }
    for (const result of results) expect(result).toEqual(results[0]);
  });

  it.each([
    ['bf16', 'bf16', 2 ** -8],
    ['bf16', 'f32', 3e-6],
    ['f16', 'f16', 2 ** -11],
    ['f16', 'f32', 3e-6],
  ] as const)('of %s into %s agree with float64 in every form and size', async (operands, result, tolerance) => {
    using engine = await cpuEngine();
    using exact = exactEngine();
    // several blocks of the depth; also of packed columns and of what is packed of the depth; an empty sum
    for (const size of [...sizes, [7, 70, 6200], [3, 1100, 4100], [2, 3, 0]] as const) {
      for (const form of size[1] * size[2] > 1e6 ? [6] : [0, 1, 2, 3, 4, 5, 6, 7]) {
        const flags = [form & 1, (form >> 1) & 1, form >> 2] as const;
        const expected = product(exact, size, flags);
        // summed in float32, then rounded once: half a unit in the last place of the type
        expectClose(product(engine, size, flags, { operands, result }), expected, tolerance, `${size} ${flags}`);
      }
    }
  });

  it.each(['bf16', 'f16'] as const)('of %s give the same bits for every thread count', async (operands) => {
    for (const [size, result] of [
      [[150, 230, 3101], operands],
      [[230, 150, 1030], 'f32'],
    ] as const) {
      const results: number[][] = [];
      for (const threads of [1, 2, 3, 2]) {
        using engine = await cpuEngine({ threads });
        results.push(product(engine, size, [result === 'f32' ? 1 : 0, 1, 1], { operands, result }));
      }
      for (const other of results) expect(other).toEqual(results[0]);
    }
  });

  it('hand on NaN and infinity', async () => {
    using engine = await cpuEngine({ matrixProvider: 'own' });
    const [m, n, k] = [20, 40, 30];
    using a = Tensor.from(engine, new Array<number>(m * k).fill(1), [m, k]);
    using b = Tensor.from(engine, new Array<number>(k * n).fill(1), [k, n]);
    using c = Tensor.empty(engine, [m, n]);
    a.data[3 * k + 5] = Number.NaN;
    a.data[7 * k + 5] = Number.POSITIVE_INFINITY;
    matrixProduct(engine, a, b, c, m, n, k, 0, 0, 0);
    const rows = Array.from({ length: m }, (_, i) => [...new Set(c.data.subarray(i * n, (i + 1) * n))]);
    expect(rows).toEqual(
      Array.from({ length: m }, (_, i) => [i === 3 ? Number.NaN : i === 7 ? Number.POSITIVE_INFINITY : k]),
    );
  });
});
