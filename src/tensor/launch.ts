/** How a kernel runs on a GPU: the launches, products and fills that one call of it becomes. */

import type { Counter } from './counter.ts';
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
 * What a function of a `cuda.cu` gets: the address of a tensor (null for undefined), a number of a width, a `Counter`, an address
 * in the plan's workspace, or one of memory that is no tensor of this engine.
 */
export type CudaArgument =
  | Tensor
  | undefined
  | { readonly i32: number }
  | { readonly i64: number }
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly counter: Counter }
  | { readonly workspace: number }
  | { readonly address: bigint };

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
 * c [m, n] = op(a) [m, k] · op(b) [k, n], row-major, added to c when `accumulate`; a and b of one type, sums in float32 and
 * rounded once.
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
  };
}

/** What the library does to a product's result before it rounds and stores it; operands are of the result's type. */
export type CudaEpilogue =
  /** Adds a bias [n], a tensor or what lies in the plan's workspace. */
  | { readonly kind: 'bias'; readonly bias: Tensor | { readonly workspace: number } }
  /** Multiplies by the slope of GELU's tanh form at `input` [m, n]. */
  | { readonly kind: 'geluSlope'; readonly input: Tensor };

/** A product with an epilogue, after the launches in `before`; or `otherwise`, where the library has no algorithm for it. */
export interface CudaFusion {
  readonly fused: CudaProduct['product'];
  readonly epilogue: CudaEpilogue;
  readonly before: readonly CudaLaunch[];
  readonly otherwise: readonly CudaStep[];
}

/** Writes one number everywhere, before the steps that follow. */
export interface CudaFill {
  readonly fill: Tensor;
  readonly value: number;
}

/** Steps run in order. */
export type CudaStep = CudaLaunch | CudaProduct | CudaFusion | CudaFill;

/** Bytes of scratch memory that the steps share, whichever way a fusion takes. */
export const workspaceOf = (steps: readonly CudaStep[]): number =>
  steps.reduce((most, step) => {
    if ('fused' in step) return Math.max(most, workspaceOf(step.before), workspaceOf(step.otherwise));
    return Math.max(most, ('workspace' in step && step.workspace) || 0);
  }, 0);
