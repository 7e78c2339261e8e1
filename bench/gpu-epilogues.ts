/** What cuBLASLt's epilogues save in the products of a GPT on a GPU, against kernels of their own behind the product. */

import type { CublasLt, EpilogueAddresses, EpilogueKind, PlannedProduct } from '../src/ffi/cuda/cublas-lt.ts';
import { castTo } from '../src/ops/cast/kernels.ts';
import { geluForms } from '../src/ops/gelu/kernels.ts';
import { addBias, biasGeluBackward, biasGeluForward, columnSums } from '../src/ops/linear/kernels.ts';
import { randomNormal } from '../src/ops/random-normal/kernels.ts';
import { accumulate } from '../src/tensor/accumulate.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { type Choice, chooseFastest, isUnsupported, type StreamTimer } from '../src/tensor/engines/cuda/fastest.ts';
import { addressesOf, problemOf, productWorkspaceBytes } from '../src/tensor/engines/cuda/products.ts';
import type { CudaProduct } from '../src/tensor/launch.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { randomMatrix } from '../src/train/profile/limits.ts';

export type Matrix = Omit<CudaProduct['product'], 'accumulate'>;

export interface Bench {
  readonly engine: Engine;
  readonly cublasLt: CublasLt;
  readonly timer: StreamTimer;
  readonly stream: bigint;
  readonly workspace: bigint;
  readonly candidates: number;
}

export const random = (engine: Engine, shape: readonly [number, number], deviation: number): Tensor =>
  randomMatrix(engine, 'bf16', shape, shape[0] + shape[1], deviation);

export const empty = (engine: Engine, shape: readonly number[], dtype: 'bf16' | 'f32' = 'bf16'): Tensor =>
  Tensor.zeros(engine, shape, { dtype, kind: 'workspace' });

/** Plans a product and takes its fastest algorithm. @returns undefined where the library has none. */
export function fastest(
  bench: Bench,
  matrix: Matrix,
  accumulate: boolean,
  epilogue?: EpilogueAddresses & { readonly kind: EpilogueKind },
): (Choice & Disposable & { readonly algorithms: number; run(): void }) | undefined {
  const { cublasLt, timer, stream, workspace, candidates } = bench;
  const product = { ...matrix, accumulate };
  const addresses = { ...addressesOf(product), ...epilogue };
  let planned: PlannedProduct | undefined;
  try {
    const plan = cublasLt.plan({ ...problemOf(product), epilogue }, productWorkspaceBytes, candidates);
    planned = plan;
    const run = (): void => plan.run(addresses, accumulate, workspace, stream);
    const choice = chooseFastest(plan, run, timer);
    return { ...choice, run, algorithms: plan.algorithms, [Symbol.dispose]: () => plan[Symbol.dispose]() };
  } catch (error) {
    planned?.[Symbol.dispose]();
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}

/** Microseconds of a product with what follows it: in its epilogue, or by kernels behind it. */
export interface Comparison {
  readonly rows: number;
  readonly epilogue: EpilogueKind;
  readonly layer: string;
  readonly separate: number;
  /** Undefined where the library has no algorithm. */
  readonly fused: { readonly first: number; readonly best: number } | undefined;
}

/** What stands before and behind a product with an epilogue, and the kernels behind one without. */
interface Way {
  readonly epilogue: EpilogueKind;
  readonly layer: string;
  readonly matrix: Matrix;
  readonly accumulate?: boolean;
  readonly places: EpilogueAddresses;
  readonly before?: () => void;
  readonly after?: () => void;
  readonly kernels: () => void;
}

/** Each way does all that the step needs: a bias's rounding and the sums of its gradient are in the times, too. */
export function compareEpilogues(
  bench: Bench,
  { hidden, feedForward }: { readonly hidden: number; readonly feedForward: number },
  rows: number,
): readonly Comparison[] {
  const { engine, timer } = bench;
  const form = geluForms.tanh;
  const biasOf = (width: number): readonly [Tensor, Tensor] => {
    const [floats, halves] = [empty(engine, [width], 'f32'), empty(engine, [width])];
    randomNormal(engine, floats, 1, width, width, 0, 0, 0.1, 1234, width);
    return [floats, halves];
  };
  const time = (run: () => void): number => {
    run();
    return 1000 * timer.milliseconds(run, 20);
  };
  const compare = ({ epilogue, layer, matrix, accumulate: adds = false, places, ...steps }: Way): Comparison => {
    using plain = fastest(bench, matrix, adds);
    const separate = time(() => {
      plain?.run();
      steps.kernels();
    });
    using found = fastest(bench, matrix, adds, { kind: epilogue, ...places });
    if (!found) return { rows, epilogue, layer, separate, fused: undefined };
    const best = time(() => {
      steps.before?.();
      found.run();
      steps.after?.();
    });
    const first = best + 1000 * (found.firstMilliseconds - found.milliseconds);
    return { rows, epilogue, layer, separate, fused: { first, best } };
  };
  const forward = (outputs: number): Matrix => ({
    ...{ a: random(engine, [rows, hidden], 1), b: random(engine, [outputs, hidden], 0.02) },
    ...{ c: empty(engine, [rows, outputs]), m: rows, n: outputs, k: hidden, transposeA: false, transposeB: true },
  });
  const [qkv, up] = [forward(3 * hidden), forward(feedForward)];
  const [[qkvBias, qkvBias16], [upBias, upBias16]] = [biasOf(qkv.n), biasOf(up.n)];
  const [u, active] = [random(engine, [rows, feedForward], 1), empty(engine, [rows, feedForward])];
  const down: Matrix = {
    ...{ a: random(engine, [rows, hidden], 1), b: random(engine, [hidden, feedForward], 0.02), c: active },
    ...{ m: rows, n: feedForward, k: hidden, transposeA: false, transposeB: false },
  };
  const sums = empty(engine, [feedForward], 'f32');
  const qkvGradient: Matrix = {
    ...{ a: random(engine, [rows, qkv.n], 1), b: qkv.a, c: empty(engine, [qkv.n, hidden], 'f32') },
    ...{ m: qkv.n, n: hidden, k: rows, transposeA: true, transposeB: false },
  };
  const biasGradient = empty(engine, [qkv.n], 'f32');
  return [
    compare({
      ...{ epilogue: 'bias', layer: 'QKV', matrix: qkv, places: { bias: qkvBias16.address } },
      before: () => castTo(engine, qkvBias, qkvBias16, qkv.n),
      kernels: () => addBias(engine, qkv.c, qkvBias, rows, qkv.n),
    }),
    compare({
      ...{ epilogue: 'gelu', layer: 'MLP up', matrix: up, places: { bias: upBias16.address, geluInput: u.address } },
      before: () => castTo(engine, upBias, upBias16, up.n),
      kernels: () => biasGeluForward(engine, up.c, upBias, active, rows, feedForward, form),
    }),
    compare({
      ...{ epilogue: 'geluSlope', layer: 'MLP down dx', matrix: down, places: { geluInput: u.address } },
      after: () => columnSums(engine, active, sums, rows, feedForward),
      kernels: () => biasGeluBackward(engine, active, u, upBias, active, sums, rows, feedForward, form),
    }),
    compare({
      ...{ epilogue: 'sumsOfB', layer: 'QKV dW', matrix: qkvGradient, accumulate: true },
      places: { bias: qkvBias.address }, // which nobody reads any more
      after: () => accumulate(engine, biasGradient, qkvBias, qkv.n),
      kernels: () => columnSums(engine, qkvGradient.a, biasGradient, rows, qkv.n),
    }),
  ];
}
