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

/** The library adds biases of some types to results of some types. */
function planIfSupported(cublasLt: CublasLt, problem: ProductProblem): PlannedProduct | undefined {
  try {
    return cublasLt.plan(problem, workspaceBytes);
  } catch (error) {
    if (error instanceof CudaError && error.status === notSupported) return undefined;
    throw error;
  }
}

export function createProducts(cublasLt: CublasLt, driver: CudaDriver, stream: bigint): Products {
  const plans = new Map<string, ProductPlan>();
  let workspace: bigint | undefined;

  const planOf = ({ a, b, c, m, n, k, transposeA, transposeB, bias }: CudaProduct['product']): ProductPlan => {
    const types = [dataTypeOf(a), dataTypeOf(b), dataTypeOf(c)] as const;
    const alignments = { a: alignmentOf(b.address), b: alignmentOf(a.address), d: alignmentOf(c.address) };
    const takesBias = bias && bias.values.address % biasAlignment === 0n;
    const read = takesBias ? { type: dataTypeOf(bias.values), address: bias.values.address } : undefined;
    const key = [...types, read?.type, m, n, k, transposeA, transposeB, ...Object.values(alignments)].join(' ');
    const known = plans.get(key);
    if (known) return known;
    // row-major c = op(a)·op(b) is column-major cᵀ = op(b)ᵀ·op(a)ᵀ, and memory of a matrix is that of its transpose
    const problem = {
      a: { type: types[1], rows: transposeB ? k : n, columns: transposeB ? n : k },
      b: { type: types[0], rows: transposeA ? m : k, columns: transposeA ? k : m },
      d: { type: types[2], rows: n, columns: m },
      ...{ transposeA: transposeB, transposeB: transposeA, alignments },
    };
    const withBias = read && planIfSupported(cublasLt, { ...problem, bias: read });
    const plan = { planned: withBias ?? cublasLt.plan(problem, workspaceBytes), addsBias: withBias !== undefined };
    plans.set(key, plan);
    return plan;
  };

  return {
    run(product) {
      const { a, b, c, m, n, k, accumulate, bias } = product;
      if (m === 0 || n === 0) return true; // nobody needs a bias
      if (k === 0) {
        if (!accumulate) c.fill(0); // an empty sum
        return false;
      }
      if (workspace === undefined) {
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
      if (workspace !== undefined) driver.cuMemFree_v2(workspace);
      cublasLt[Symbol.dispose]();
    },
  };
}
