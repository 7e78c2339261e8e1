import { describe, expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { cpuEngine, describeOnEngines, exactEngine, noCpuEngine } from '../../../test/support/engines.ts';
import { expectGolden } from '../../../test/support/golden.ts';
import { numbers } from '../../../test/support/numbers.ts';
import {
  expectAccumulates,
  expectAgreesWithExact,
  expectFiniteDifferences,
  expectHalvesAgree,
  type OperatorCase,
} from '../../../test/support/operator.ts';
import { EngineError, messageOf, ShapeError } from '../../base/errors.ts';
import { matrixProviders } from '../../tensor/engines/cpu.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { matrixProduct } from './kernels.ts';
import { matmul } from './op.ts';

const matmulCase = (m: number, k: number, n: number, scale = 1): OperatorCase<'a' | 'b'> => ({
  inputs: { a: { shape: [m, k], key: 51, scale }, b: { shape: [k, n], key: 52, scale } },
  apply: ({ a, b }) => matmul(a, b),
});

describe('matmul', () => {
  it.each([
    [1, 1, 1],
    [3, 5, 2],
    [5, 1, 7],
  ])('has the gradients of finite differences at %i x %i x %i', (m, k, n) => {
    expectFiniteDifferences(matmulCase(m, k, n));
  });

  it('refuses matrices whose inner sizes differ, and what is no matrix', () => {
    using engine = exactEngine();
    engine.scope(() => {
      const a = Tensor.zeros(engine, [2, 3]);
      expect(() => matmul(a, Tensor.zeros(engine, [2, 3]))).toThrow(ShapeError);
      expect(() => matmul(a, Tensor.zeros(engine, [3]))).toThrow(ShapeError);
    });
  });
});

// A sum of k products in float32 errs by about √k units in the last place (6e-8 each); k is 257 at most here.
const tolerances = { output: 2e-6, gradient: 2e-6 };

describeOnEngines('matmul', (engine) => {
  it.each([
    [1, 1, 1],
    [7, 17, 5],
    [1, 257, 65],
    [65, 7, 1],
    [65, 257, 33],
  ])('agrees with float64 at %i x %i x %i', (m, k, n) => {
    expectAgreesWithExact(engine(), matmulCase(m, k, n), tolerances);
    expectAgreesWithExact(engine(), matmulCase(m, k, n, 1e4), tolerances);
  });

  it('adds to gradients that are there', () => expectAccumulates(engine(), matmulCase(7, 5, 3)));

  it('takes values of 16 bits', () => {
    expectHalvesAgree(engine(), matmulCase(7, 17, 5), { weights: ['b'] });
    expectHalvesAgree(engine(), matmulCase(33, 130, 65));
  });

  it.each([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ])('reads transposed matrices (%i, %i) and adds where asked', (transposeA, transposeB) => {
    const [m, n, k] = [7, 17, 5];
    const valuesA = numbers({ shape: [m, k], key: 53 });
    const valuesB = numbers({ shape: [k, n], key: 54 });
    const expected = Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let p = 0; p < k; p++) {
        const i = Math.floor(at / n);
        const j = at % n;
        sum += (valuesA[transposeA ? p * m + i : i * k + p] ?? 0) * (valuesB[transposeB ? j * k + p : p * n + j] ?? 0);
      }
      return sum;
    });
    const on = engine();
    on.scope(() => {
      const a = Tensor.from(on, valuesA, [m, k]);
      const b = Tensor.from(on, valuesB, [k, n]);
      const c = Tensor.empty(on, [m, n]);
      matrixProduct(on, a, b, c, m, n, k, transposeA, transposeB, 0);
      expectClose(c.toArray(), expected, 1e-6);
      matrixProduct(on, a, b, c, m, n, k, transposeA, transposeB, 1);
      expectClose(
        c.toArray(),
        expected.map((value) => 2 * value),
        1e-6,
      );
    });
  });

  it('lets no zero hide a NaN or an infinity', () => {
    const on = engine();
    on.scope(() => {
      const zeros = Tensor.zeros(on, [2, 2]);
      const odd = Tensor.from(on, [Number.NaN, 1, 1, Number.POSITIVE_INFINITY], [2, 2]);
      expect(matmul(zeros, odd).toArray().every(Number.isNaN)).toBe(true);
      expect(matmul(odd, zeros).toArray().every(Number.isNaN)).toBe(true);
    });
  });

  it('gives zeros for an empty sum', () => {
    const on = engine();
    on.scope(() => expect(matmul(Tensor.zeros(on, [2, 0]), Tensor.zeros(on, [0, 2])).toArray()).toEqual([0, 0, 0, 0]));
  });

  it('gives PyTorch’s figures', () => {
    expectGolden<'a' | 'b'>(engine(), 'matmul 7 x 17 x 5', ({ a, b }) => matmul(a, b), tolerances);
  });
});

describe.skipIf(noCpuEngine)(`matmul by every provider${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  it.for(matrixProviders)('%s agrees with float64', async (matrixProvider, context) => {
    let engine: Awaited<ReturnType<typeof cpuEngine>>;
    try {
      engine = await cpuEngine({ matrixProvider });
    } catch (error) {
      // a library may be missing, our own product never
      expect(matrixProvider).not.toBe('own');
      expect(error).toBeInstanceOf(EngineError);
      return context.skip(`skipped: ${messageOf(error)}`);
    }
    for (const [m, k, n] of [
      [1, 1, 1],
      [7, 257, 17],
      [2, 65, 129],
    ] as const) {
      expectAgreesWithExact(engine, matmulCase(m, k, n), tolerances);
    }
    engine[Symbol.dispose]();
  });
});
