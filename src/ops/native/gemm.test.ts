import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { cpuEngine, exactEngine, noCpuEngine } from '../../../test/support/engines.ts';
import { numbers } from '../../../test/support/numbers.ts';
import type { Engine } from '../../tensor/engine.ts';
import { type MatrixProvider, matrixProviders } from '../../tensor/engines/cpu.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { matrixProduct } from '../matmul/kernels.ts';

type Size = readonly [m: number, n: number, k: number];

/** C = op(A)·op(B), added to numbers that are there when `accumulate`. */
function product(
  engine: Engine,
  [m, n, k]: Size,
  transposeA: number,
  transposeB: number,
  accumulate: number,
): number[] {
  using a = Tensor.from(engine, numbers({ shape: [m, k], key: 1 }), [m, k]);
  using b = Tensor.from(engine, numbers({ shape: [k, n], key: 2 }), [k, n]);
  using c = Tensor.empty(engine, [m, n]); // NaN: must not be read where nothing is added to
  if (accumulate) c.data.set(numbers({ shape: [m, n], key: 3 }));
  matrixProduct(engine, a, b, c, m, n, k, transposeA, transposeB, accumulate);
  return c.toArray();
}

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
  it.each(matrixProviders)('agree with float64 in every form and size: %s', async (provider) => {
    using engine = await engineOf(provider);
    if (!engine) {
      expect(provider).not.toBe('own');
      return console.warn(`skipped: no ${provider} on this machine`);
    }
    using exact = exactEngine();
    for (const size of sizes) {
      for (const form of [0, 1, 2, 3, 4, 5, 6, 7]) {
        const flags = [form & 1, (form >> 1) & 1, form >> 2] as const;
        // sums of up to 1100 products, each rounded to 6e-8
        expectClose(product(engine, size, ...flags), product(exact, size, ...flags), 3e-6, `${size} ${flags}`);
      }
    }
  });

  it('give the same bits for every thread count with our own kernel', async () => {
    const size = [150, 230, 1030] as const;
    const results: number[][] = [];
    for (const threads of [1, 2, 3, 2]) {
      using engine = await cpuEngine({ threads, matrixProvider: 'own' });
      results.push(product(engine, size, 0, 1, 0));
    }
    for (const result of results) expect(result).toEqual(results[0]);
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
