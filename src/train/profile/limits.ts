/** How fast this machine is at best, measured with our own kernels: what the time of each operator is held against. */

import { addForward } from '../../ops/add/kernels.ts';
import { castTo } from '../../ops/cast/kernels.ts';
import { matrixProduct } from '../../ops/matmul/kernels.ts';
import { randomNormal } from '../../ops/random-normal/kernels.ts';
import { bytesOf } from '../../tensor/cost.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';

export interface Limits {
  /** FLOP/s of a square matrix product, by element type. */
  readonly matrix: Partial<Record<DType, number>>;
  /** Bytes/s of c = a + b over arrays far larger than any cache. */
  readonly bandwidth: number;
}

/** Elements of each of the three arrays: 64 MiB in float32. */
const arraySize = 16 * 1024 * 1024;
/** Each measurement takes this long, and its best run counts. */
const patienceMs = 200;

/** @returns seconds of the best of several runs, since whatever else the machine does can only slow one down; the first warms up. */
function bestSeconds(engine: Engine, body: () => void): number {
  body();
  engine.synchronize();
  let best = Number.POSITIVE_INFINITY;
  const begin = performance.now();
  do {
    const start = performance.now();
    body();
    engine.synchronize();
    best = Math.min(best, performance.now() - start);
  } while (performance.now() - begin < patienceMs);
  return best / 1000;
}

/** Bytes/s between memory and all threads of the engine. */
export function measureBandwidth(engine: Engine): number {
  const make = (): Tensor => Tensor.zeros(engine, [arraySize], { kind: 'workspace' });
  using a = make();
  using b = make();
  using c = make();
  return bytesOf(a, b, c) / bestSeconds(engine, () => addForward(engine, a, b, c, arraySize));
}

/** Large enough that the hardware decides; the plain-TypeScript engine gets what it does in a fraction of a second. */
export const matrixSizes: Readonly<Record<Engine['name'], number>> = { cpu: 1024, cuda: 4096, reference: 192 };

/** Normal random numbers [rows, columns]: a GPU multiplies zeros, or a number repeated, at less power and so faster. */
export function randomMatrix(
  engine: Engine,
  dtype: DType,
  [rows, columns]: readonly [rows: number, columns: number],
  seed: number,
  deviation = 1,
): Tensor {
  const wide = Tensor.empty(engine, [rows, columns], { kind: 'workspace' });
  randomNormal(engine, wide, rows, columns, columns, 0, 0, deviation, seed, 0);
  if (dtype === wide.dtype) return wide;
  using numbers = wide;
  const matrix = Tensor.empty(engine, [rows, columns], { dtype, kind: 'workspace' });
  castTo(engine, numbers, matrix, matrix.size);
  return matrix;
}

/** FLOP/s of c = a·bᵀ, a linear layer's product, of square matrices of random numbers. */
export function measureMatrixRate(engine: Engine, dtype: DType, size = matrixSizes[engine.name]): number {
  using a = randomMatrix(engine, dtype, [size, size], 1);
  using b = randomMatrix(engine, dtype, [size, size], 2);
  using c = Tensor.empty(engine, [size, size], { dtype, kind: 'workspace' });
  return (2 * size ** 3) / bestSeconds(engine, () => matrixProduct(engine, a, b, c, size, size, size, 0, 1, 0));
}
