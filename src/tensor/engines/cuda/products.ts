/** Matrix products by cuBLASLt: row-major problems as its column-major ones, each shape's algorithm chosen once. */

import { EngineError } from '../../../base/errors.ts';
import {
  type CublasLt,
  type CudaDataType,
  cudaDataTypes,
  type EpilogueAddresses,
  type PlannedProduct,
  type ProductAddresses,
  type ProductProblem,
} from '../../../ffi/cuda/cublas-lt.ts';
import { type CudaDriver, outOfMemory } from '../../../ffi/cuda/driver.ts';
import { CudaError, Out } from '../../../ffi/cuda/status.ts';
import { byteLengthOf } from '../../cost.ts';
import type { DType } from '../../dtype.ts';
import type { CudaEpilogue, CudaProduct } from '../../launch.ts';
import { Tensor } from '../../tensor.ts';
import { chooseFastest, isUnsupported, runFirst, StreamTimer } from './fastest.ts';

/** What NVIDIA advises for Hopper; smaller devices do with as much. The driver's addresses are multiples of 256 bytes. */
export const productWorkspaceBytes = 32 * 1024 * 1024;

type Product = CudaProduct['product'];

export interface Products extends Disposable {
  run(product: Product): void;
  /**
   * @param workspace where the plan's scratch memory begins
   * @returns what runs the product with its epilogue; undefined where the library has no algorithm for it. Shapes decide that,
   *   once for each.
   */
  fuse(product: Product, epilogue: CudaEpilogue, workspace: bigint): (() => void) | undefined;
}

const isDataType = (dtype: DType): dtype is CudaDataType => dtype in cudaDataTypes;

function dataTypeOf({ dtype }: Tensor): CudaDataType {
  if (isDataType(dtype)) return dtype;
  throw new EngineError(`there is no matrix product of ${dtype} on the GPU`);
}

/** The largest power of two, 256 at most, that divides an address: algorithms differ in what they ask for. */
const alignmentOf = (address: bigint): number => Number(BigInt.asUintN(8, address & -address)) || 256;

/** Row-major c = op(a)·op(b) is column-major cᵀ = op(b)ᵀ·op(a)ᵀ, and memory of a matrix is that of its transpose. */
export function problemOf({ a, b, c, m, n, k, transposeA, transposeB }: Product): ProductProblem {
  return {
    a: { type: dataTypeOf(b), rows: transposeB ? k : n, columns: transposeB ? n : k },
    b: { type: dataTypeOf(a), rows: transposeA ? m : k, columns: transposeA ? k : m },
    d: { type: dataTypeOf(c), rows: n, columns: m },
    ...{ transposeA: transposeB, transposeB: transposeA },
    alignments: { a: alignmentOf(b.address), b: alignmentOf(a.address), d: alignmentOf(c.address) },
  };
}

export const addressesOf = ({ a, b, c }: Product): ProductAddresses => ({ a: b.address, b: a.address, d: c.address });

function epilogueAddresses(epilogue: CudaEpilogue, workspace: bigint): EpilogueAddresses {
  if (epilogue.kind === 'geluSlope') return { geluInput: epilogue.input.address };
  const { bias } = epilogue;
  return { bias: bias instanceof Tensor ? bias.address : workspace + BigInt(bias.workspace) };
}

function keyOf({ a, b, d, transposeA, transposeB, alignments, epilogue }: ProductProblem): string {
  const sizes = [a.type, b.type, d.type, a.rows, a.columns, d.rows, d.columns, transposeA, transposeB];
  const places = [alignments.a, alignments.b, alignments.d];
  if (!epilogue) return [...sizes, ...places].join(' ');
  return [...sizes, ...places, epilogue.kind, alignmentOf(epilogue.bias ?? epilogue.geluInput ?? 0n)].join(' ');
}

/** Bytes that divide the addresses of a bias or GELU's inputs that the library takes, and numbers that divide their rows. */
const epilogueAlignment = 16;
const geluInputRow = 8;

/** cublasLt.h: "must be divisible by 8"; such problems are not asked for, so that nobody depends on how they are refused. */
const mayFuse = ({ d, epilogue }: ProductProblem): boolean =>
  alignmentOf(epilogue?.bias ?? epilogue?.geluInput ?? 0n) >= epilogueAlignment &&
  (epilogue?.geluInput === undefined || d.rows % geluInputRow === 0);

/** Algorithms that are asked for: the first that is not refused is taken; or the fastest, where that is measured. */
const mostTried = 4;
const mostMeasured = 32;

export interface ProductsParts {
  readonly cublasLt: CublasLt;
  readonly driver: CudaDriver;
  readonly stream: bigint;
  /**
   * Whether to choose the algorithm of each shape by running several, instead of taking the library's word. The choice may
   * then be another on the next run, and with it the last bits.
   */
  readonly measures: boolean;
  readonly notify?: ((message: string) => void) | undefined;
}

export function createProducts({ cublasLt, driver, stream, measures, notify }: ProductsParts): Products {
  const plans = new Map<string, PlannedProduct | undefined>();
  const told = new Set<string>();
  let workspace = 0n; // allocated with the first product

  const runner = (planned: PlannedProduct, addresses: ProductAddresses, accumulate: boolean) => (): void =>
    planned.run(addresses, accumulate, workspace, stream);

  const newPlan = (problem: ProductProblem): PlannedProduct => {
    if (workspace === 0n) {
      const out = new Out();
      driver.cuMemAlloc_v2(out.place, productWorkspaceBytes);
      workspace = out.pointer;
    }
    return cublasLt.plan(problem, productWorkspaceBytes, measures ? mostMeasured : mostTried);
  };

  /** Measures in memory of its own, since a result may be one that is added to. @returns whether there was as much. */
  const measure = (planned: PlannedProduct, addresses: ProductAddresses, { c, accumulate }: Product): boolean => {
    const out = new Out();
    try {
      driver.cuMemAlloc_v2(out.place, byteLengthOf(c));
    } catch (error) {
      if (error instanceof CudaError && error.status === outOfMemory) return false;
      throw error;
    }
    const d = out.pointer;
    using timer = new StreamTimer(driver, stream);
    try {
      driver.cuMemsetD8Async(d, 0, byteLengthOf(c), stream);
      chooseFastest(planned, runner(planned, { ...addresses, d }, accumulate), timer);
      return true;
    } finally {
      driver.cuMemFree_v2(d); // waits for all work
    }
  };

  /** Chooses the algorithm of a new plan and runs it. */
  const begin = (planned: PlannedProduct, addresses: ProductAddresses, product: Product): void => {
    const run = runner(planned, addresses, product.accumulate);
    if (measures && planned.algorithms > 1 && measure(planned, addresses, product)) run();
    else runFirst(planned, run);
  };

  /** The heuristics do not quite promise that an algorithm runs: this tries, into the result that is about to be written. */
  const tryFused = (
    problem: ProductProblem,
    addresses: ProductAddresses,
    product: Product,
  ): PlannedProduct | undefined => {
    if (!mayFuse(problem)) return undefined;
    let planned: PlannedProduct | undefined;
    try {
      planned = newPlan(problem);
      begin(planned, addresses, product);
      return planned;
    } catch (error) {
      planned?.[Symbol.dispose]();
      if (!isUnsupported(error)) throw error;
      return undefined;
    }
  };

  const tellOnce = ({ d, epilogue }: ProductProblem): void => {
    const what = `products of ${d.type} with ${epilogue?.kind}`;
    if (!told.has(what))
      notify?.(`cuBLASLt has no algorithm for ${what}, ${d.columns} × ${d.rows}: a kernel does the rest`);
    told.add(what);
  };

  return {
    run(product) {
      const { c, m, n, k, accumulate } = product;
      if (m === 0 || n === 0) return;
      if (k === 0) {
        if (!accumulate) c.fill(0); // an empty sum
        return;
      }
      const problem = problemOf(product);
      const key = keyOf(problem);
      const known = plans.get(key);
      if (known) {
        runner(known, addressesOf(product), accumulate)();
        return;
      }
      const planned = newPlan(problem);
      plans.set(key, planned);
      begin(planned, addressesOf(product), product);
    },
    fuse(product, epilogue, place) {
      const { m, n, k, accumulate } = product;
      if (m === 0 || n === 0 || k === 0) return undefined;
      if (accumulate) throw new EngineError(`a product with ${epilogue.kind} cannot be added to what is there`);
      const more = epilogueAddresses(epilogue, place);
      const addresses = { ...addressesOf(product), ...more };
      const problem = { ...problemOf(product), epilogue: { kind: epilogue.kind, ...more } };
      const key = keyOf(problem);
      if (!plans.has(key)) {
        plans.set(key, tryFused(problem, addresses, product));
        if (!plans.get(key)) tellOnce(problem);
      }
      const planned = plans.get(key);
      return planned && runner(planned, addresses, false);
    },
    [Symbol.dispose]() {
      for (const planned of plans.values()) planned?.[Symbol.dispose]();
      if (workspace !== 0n) driver.cuMemFree_v2(workspace);
      cublasLt[Symbol.dispose]();
    },
  };
}
