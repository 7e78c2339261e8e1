/**
 * The bf16 products of a 1.2B GPT step on a GPU: cuBLASLt's first algorithm and the fastest of many, and what their epilogues
 * (bias, GELU, GELU's slope) save against kernels of their own.
 */

import { EngineError } from '../src/base/errors.ts';
import { openCublasLt } from '../src/ffi/cuda/cublas-lt.ts';
import { openDriver } from '../src/ffi/cuda/driver.ts';
import { findCuda } from '../src/ffi/cuda/find.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { StreamTimer } from '../src/tensor/engines/cuda/fastest.ts';
import { productWorkspaceBytes } from '../src/tensor/engines/cuda/products.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { pick } from './gpt-step.ts';
import { type Bench, type Comparison, compareEpilogues, empty, fastest, type Matrix, random } from './gpu-epilogues.ts';
import { benchmarkOptions, report } from './measure.ts';

interface Sizes {
  readonly layers: number;
  readonly hidden: number;
  readonly feedForward: number;
  readonly vocabulary: number;
  /** Tokens of a micro-batch. */
  readonly rows: readonly number[];
  /** Rows and columns of the matrices whose product is the machine's own limit. */
  readonly square: number;
}

/** The paper's baseline on one GPU (Table 1), at 8 and 16 sequences of 1,024 tokens; tiny is for the software CUDA. */
const allSizes: Readonly<Record<string, Sizes>> = {
  '1.2b': { layers: 40, hidden: 1536, feedForward: 6144, vocabulary: 51_200, rows: [8192, 16_384], square: 8192 },
  tiny: { layers: 2, hidden: 16, feedForward: 32, vocabulary: 40, rows: [8], square: 16 },
};

export interface ProductOptions {
  /** '1.2b' where not given. */
  readonly sizes?: string;
  /** Algorithms that the library is asked for; 32 where not given. */
  readonly candidates?: number;
  /** Where the lines of the table go. */
  readonly notify?: (line: string) => void;
}

interface Rates {
  readonly microseconds: { readonly first: number; readonly best: number };
  readonly tflops: { readonly first: number; readonly best: number };
  /** Place of the best in the library's order, and how many there were. */
  readonly best: number;
  readonly algorithms: number;
}

/** A product of one layer; rates in shares of the square product's best. */
type Row = Rates & {
  readonly rows: number;
  readonly layer: string;
  readonly kind: 'forward' | 'dx' | 'dW';
  readonly shareOfSquare: { readonly first: number; readonly best: number };
};

/** @throws EngineError on an engine that is not on a GPU. */
export function productBenchmark(engine: Engine, options: ProductOptions = {}) {
  const sizes = pick(allSizes as Record<string, Sizes>, options.sizes ?? '1.2b', 'sizes');
  const { gpu } = engine.backend;
  const libraries = findCuda();
  if (!gpu || !libraries.driver || !libraries.cublasLt) throw new EngineError('this benchmark is for a GPU');
  const driver = openDriver(libraries.driver);
  using cublasLt = openCublasLt(libraries.cublasLt);
  using timer = new StreamTimer(driver, gpu.stream);
  return engine.scope(() => {
    const workspace = Tensor.empty(engine, [productWorkspaceBytes / 4], { kind: 'workspace' }).address;
    const { candidates = 32, notify: say = () => {} } = options;
    const bench: Bench = { engine, cublasLt, timer, stream: gpu.stream, workspace, candidates };
    const square = engine.scope(() => measureSquare(bench, sizes.square));
    say(`${sizes.square}³: ${square.tflops.first.toFixed(0)} TFLOP/s, best ${square.tflops.best.toFixed(0)}`);
    const products = sizes.rows.flatMap((rows) =>
      layersOf(sizes).flatMap(([layer, outputs, inputs]) =>
        engine.scope(() => measureLayer(bench, { rows, layer, outputs, inputs }, square)),
      ),
    );
    const epilogues = sizes.rows.flatMap((rows) => engine.scope(() => compareEpilogues(bench, sizes, rows)));
    for (const line of tableOf(products, epilogues)) say(line);
    const steps = sizes.rows.map((rows) => stepOf(products, sizes, rows));
    return { device: engine.backend.description, cublasLt: cublasLt.version, square, products, epilogues, steps };
  });
}

const layersOf = ({ hidden, feedForward, vocabulary }: Sizes): readonly (readonly [string, number, number])[] => [
  ['QKV', 3 * hidden, hidden],
  ['projection', hidden, hidden],
  ['MLP up', feedForward, hidden],
  ['MLP down', hidden, feedForward],
  ['logits', vocabulary, hidden],
];

function measureSquare(bench: Bench, n: number): Rates {
  const { engine } = bench;
  const [a, b, c] = [random(engine, [n, n], 1), random(engine, [n, n], 0.02), empty(engine, [n, n])];
  return rates(bench, { ...{ a, b, c, m: n, n, k: n }, transposeA: false, transposeB: true }, false);
}

function rates(bench: Bench, matrix: Matrix, accumulate: boolean): Rates {
  using found = fastest(bench, matrix, accumulate);
  if (!found) throw new EngineError('cuBLASLt has no algorithm for a plain product');
  const { firstMilliseconds: first, milliseconds: best, index, algorithms } = found;
  const tflops = (milliseconds: number): number => (2 * matrix.m * matrix.n * matrix.k) / (milliseconds * 1e9);
  return {
    ...{ microseconds: { first: 1000 * first, best: 1000 * best }, best: index, algorithms },
    tflops: { first: tflops(first), best: tflops(best) },
  };
}

interface Layer {
  readonly rows: number;
  readonly layer: string;
  readonly outputs: number;
  readonly inputs: number;
}

/** y = x·Wᵀ, dx = dy·W, and dW = dyᵀ·x, which is added to a float32 gradient. */
function measureLayer(bench: Bench, { rows, layer, outputs, inputs }: Layer, square: Rates): readonly Row[] {
  const { engine } = bench;
  const x = random(engine, [rows, inputs], 1);
  const weight = random(engine, [outputs, inputs], 0.02);
  const dy = random(engine, [rows, outputs], 1);
  const measured = (kind: Row['kind'], matrix: Matrix, accumulate = false): Row => {
    const found = rates(bench, matrix, accumulate);
    const share = (which: 'first' | 'best'): number => found.tflops[which] / square.tflops.best;
    return { ...{ rows, layer, kind, ...found }, shareOfSquare: { first: share('first'), best: share('best') } };
  };
  return [
    measured('forward', {
      ...{ a: x, b: weight, c: empty(engine, [rows, outputs]), m: rows, n: outputs, k: inputs },
      ...{ transposeA: false, transposeB: true },
    }),
    measured('dx', {
      ...{ a: dy, b: weight, c: empty(engine, [rows, inputs]), m: rows, n: inputs, k: outputs },
      ...{ transposeA: false, transposeB: false },
    }),
    measured(
      'dW',
      {
        ...{ a: dy, b: x, c: empty(engine, [outputs, inputs], 'f32'), m: outputs, n: inputs, k: rows },
        ...{ transposeA: true, transposeB: false },
      },
      true,
    ),
  ];
}

/** Milliseconds of all products of a step of these tokens: the layers' and the logits'. */
function stepOf(products: readonly Row[], { layers }: Sizes, rows: number) {
  const total = (which: 'first' | 'best'): number =>
    products
      .filter((product) => product.rows === rows)
      .reduce((sum, { layer, microseconds }) => sum + (layer === 'logits' ? 1 : layers) * microseconds[which], 0) /
    1000;
  return { rows, milliseconds: { first: total('first'), best: total('best') } };
}

function tableOf(products: readonly Row[], epilogues: readonly Comparison[]): string[] {
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  return [
    '  rows layer        product   first TFLOP/s     best TFLOP/s  algorithm',
    ...products.map(({ rows, layer, kind, tflops, shareOfSquare, best, algorithms }) => {
      const [first, fast] = [tflops.first.toFixed(0), tflops.best.toFixed(0)];
      const shares = [percent(shareOfSquare.first), percent(shareOfSquare.best)] as const;
      const name = `${String(rows).padStart(6)} ${layer.padEnd(12)} ${kind.padEnd(8)}`;
      return `${name} ${first.padStart(8)} ${shares[0].padStart(6)} ${fast.padStart(10)} ${shares[1].padStart(6)}  ${best + 1} of ${algorithms}`;
    }),
    ...epilogues.map(({ rows, layer, epilogue, separate, fused }) => {
      const how = fused ? `${fused.first.toFixed(1)} µs, best ${fused.best.toFixed(1)}` : 'no algorithm';
      return `${String(rows).padStart(6)} ${layer}: ${epilogue} by kernels ${separate.toFixed(1)} µs, in the product ${how}`;
    }),
  ];
}

export async function gpuProductsBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, { sizes: '1.2b', candidates: '32' });
  const notify = (line: string): void => void process.stderr.write(`${line}\n`);
  using engine = createCudaEngine({ notify });
  const result = productBenchmark(engine, { sizes: options.sizes, candidates: Number(options.candidates), notify });
  if (options.sizes === 'tiny') process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  else report('gpu-products', result);
}
