/** Matrix products by cuBLASLt: row-major problems as its column-major ones, each shape's algorithm chosen once. */

import { EngineError } from '../../../base/errors.ts';
import {
  type CublasLt,
  type CudaDataType,
  cudaDataTypes,
  notSupported,
  type PlannedProduct,
  type ProductProblem,
} from '../../../ffi/cuda/cublas-lt.ts';
import type { CudaDriver } from '../../../ffi/cuda/driver.ts';
import { CudaError, Out } from '../../../ffi/cuda/status.ts';
import { byteLengthOf } from '../../cost.ts';
import type { DType } from '../../dtype.ts';
import type { CudaProduct } from '../../launch.ts';
import type { Tensor } from '../../tensor.ts';

/** What NVIDIA advises for Hopper; smaller devices do with as much. */
const workspaceBytes = 32 * 1024 * 1024;

export interface Products extends Disposable {
  /** @returns whether the bias was added, where there is one. */
  run(product: CudaProduct['product']): boolean;
}

const isDataType = (dtype: DType): dtype is CudaDataType => dtype in cudaDataTypes;

function dataTypeOf({ dtype }: Tensor): CudaDataType {
  if (isDataType(dtype)) return dtype;
  throw new EngineError(`there is no matrix product of ${dtype} on the GPU`);
}

/** The largest power of two, 256 at most, that divides an address: algorithms differ in what they ask for. */
const alignmentOf = (address: bigint): number => Number(BigInt.asUintN(8, address & -address)) || 256;

/** Bytes that divide the address of a bias that the library reads. */
const biasAlignment = 16n;

interface ProductPlan {
  readonly planned: PlannedProduct;
  readonly addsBias: boolean;
}

function planIfSupported(cublasLt: CublasLt, problem: ProductProblem, most: number): PlannedProduct | undefined {
  try {
    return cublasLt.plan(problem, workspaceBytes, most);
  } catch (error) {
    if (error instanceof CudaError && error.status === notSupported) return undefined;
    throw error;
  }
}

/** Algorithms that are measured where asked for. */
const mostAlgorithms = 8;
const measuredRuns = 5;

/**
 * @param measures whether to choose the algorithm of each shape by running several, instead of taking the library's word. The
 *   choice may then be another on the next run, and with it the last bits.
 */
export function createProducts(cublasLt: CublasLt, driver: CudaDriver, stream: bigint, measures: boolean): Products {
  const most = measures ? mostAlgorithms : 1;
  const plans = new Map<string, ProductPlan>();
  let workspace = 0n; // allocated with the first product

  const planOf = ({ a, b, c, m, n, k, transposeA, transposeB, bias }: CudaProduct['product']): ProductPlan => {
    const types = [dataTypeOf(a), dataTypeOf(b), dataTypeOf(c)] as const;
    const alignments = { a: alignmentOf(b.address), b: alignmentOf(a.address), d: alignmentOf(c.address) };
    // cublasLt.h promises biases of the result's own type alone
    const takesBias = bias && bias.values.dtype === c.dtype && bias.values.address % biasAlignment === 0n;
    const read = takesBias ? { type: dataTypeOf(bias.values), address: bias.values.address } : undefined;
    const key = [
      ...types,
      read && alignmentOf(read.address),
      m,
      n,
      k,
      transposeA,
      transposeB,
      ...Object.values(alignments),
    ].join(' ');
    const known = plans.get(key);
    if (known) return known;
    // row-major c = op(a)·op(b) is column-major cᵀ = op(b)ᵀ·op(a)ᵀ, and memory of a matrix is that of its transpose
    const problem = {
      a: { type: types[1], rows: transposeB ? k : n, columns: transposeB ? n : k },
      b: { type: types[0], rows: transposeA ? m : k, columns: transposeA ? k : m },
      d: { type: types[2], rows: n, columns: m },
      ...{ transposeA: transposeB, transposeB: transposeA, alignments },
    };
    const withBias = read && planIfSupported(cublasLt, { ...problem, bias: read }, most);
    const plan = {
      planned: withBias ?? cublasLt.plan(problem, workspaceBytes, most),
      addsBias: withBias !== undefined,
    };
    plans.set(key, plan);
    if (plan.planned.algorithms > 1) chooseFastest(plan, { a, b, c, bias: bias?.values });
    return plan;
  };

  /** Runs each algorithm into scratch memory, since the result may be one that is added to. */
  const chooseFastest = (
    { planned, addsBias }: ProductPlan,
    {
      a,
      b,
      c,
      bias,
    }: { readonly a: Tensor; readonly b: Tensor; readonly c: Tensor; readonly bias: Tensor | undefined },
  ): void => {
    const out = new Out();
    driver.cuMemAlloc_v2(out.place, byteLengthOf(c));
    const addresses = { a: b.address, b: a.address, d: out.pointer, bias: addsBias ? bias?.address : undefined };
    const secondsOf = (index: number): number => {
      planned.choose(index);
      try {
        planned.run(addresses, false, workspace, stream);
        driver.cuStreamSynchronize(stream);
        const start = performance.now();
        for (let i = 0; i < measuredRuns; i++) planned.run(addresses, false, workspace, stream);
        driver.cuStreamSynchronize(stream);
        return performance.now() - start;
      } catch (error) {
        if (error instanceof CudaError && error.status === notSupported) return Number.POSITIVE_INFINITY;
        throw error;
      }
    };
    const times = Array.from({ length: planned.algorithms }, (_, index) => secondsOf(index));
    planned.choose(times.indexOf(Math.min(...times)));
    driver.cuMemFree_v2(addresses.d);
  };

  return {
    run(product) {
      const { a, b, c, m, n, k, accumulate, bias } = product;
      if (m === 0 || n === 0) return true; // nobody needs a bias
      if (k === 0) {
        if (!accumulate) c.fill(0); // an empty sum
        return false;
      }
      if (workspace === 0n) {
        const out = new Out();
        driver.cuMemAlloc_v2(out.place, workspaceBytes);
        workspace = out.pointer;
      }
      const { planned, addsBias } = planOf(product);
      const addresses = { a: b.address, b: a.address, d: c.address };
      const added = addsBias ? bias?.values.address : undefined;
      planned.run({ ...addresses, bias: added }, accumulate, workspace, stream);
      return addsBias;
    },
    [Symbol.dispose]() {
      for (const { planned } of plans.values()) planned[Symbol.dispose]();
      if (workspace !== 0n) driver.cuMemFree_v2(workspace);
      cublasLt[Symbol.dispose]();
    },
  };
}
