/** How a kernel runs on a GPU: the launches, products and fills that one call of it becomes. */

import type { Tensor } from './tensor.ts';

/** Which tensor core instructions attention runs on: those of a warpgroup (compute capability 9.0 alone), or of a warp. */
export const attentionVariants = ['wgmma', 'mma'] as const;
export type AttentionVariant = (typeof attentionVariants)[number];

/** What a plan may depend on. */
export interface CudaDevice {
  readonly multiprocessors: number;
  /** 10 · major + minor of the compute capability: 90 for an H100 or H200. */
  readonly architecture: number;
  /** Bytes of shared memory that one block may have at most. */
  readonly sharedBytesPerBlock: number;
  readonly attention: AttentionVariant;
}

/**
 * What a function of a `cuda.cu` gets: the address of a tensor (null for undefined), a number of a width, or an address in the
 * plan's workspace.
 */
export type CudaArgument =
  | Tensor
  | undefined
  | { readonly i32: number }
  | { readonly i64: number }
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly workspace: number };

/** One launch of an `extern "C" __global__` function. */
export interface CudaLaunch {
  readonly function: string;
  /** Blocks. */
  readonly grid: readonly [x: number, y?: number, z?: number];
  /** Threads of a block. */
  readonly block: number;
  /** Bytes of dynamic shared memory; more than 48 KiB is asked of the driver when the function is loaded. */
  readonly sharedBytes?: number;
  readonly arguments: readonly CudaArgument[];
  /** Bytes of scratch memory, contents undefined. All steps of a plan share one, as large as the largest asked for. */
  readonly workspace?: number;
}

/**
 * c [m, n] = op(a) [m, k] · op(b) [k, n], row-major, added to c when `accumulate`; a and b of one type, sums in float32. With a
 * bias [n], c gets it too: from the library, or by `addBias` where that has no algorithm for a bias of this type.
 */
export interface CudaProduct {
  readonly product: {
    readonly a: Tensor;
    readonly b: Tensor;
    readonly c: Tensor;
    readonly m: number;
    readonly n: number;
    readonly k: number;
    readonly transposeA: boolean;
    readonly transposeB: boolean;
    readonly accumulate: boolean;
    readonly bias?: { readonly values: Tensor; readonly addBias: CudaLaunch } | undefined;
  };
}

/** Writes one number everywhere, before the steps that follow. */
export interface CudaFill {
  readonly fill: Tensor;
  readonly value: number;
}

/** Steps run in order. */
export type CudaStep = CudaLaunch | CudaProduct | CudaFill;

/** Bytes of scratch memory that the steps share. */
export const workspaceOf = (steps: readonly CudaStep[]): number =>
  steps.reduce((most, step) => Math.max(most, ('workspace' in step && step.workspace) || 0), 0);
