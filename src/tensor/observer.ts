/** Watching an engine at work: who runs what, for how long. Nobody watches as a rule, and then nothing is spent on it. */

import type { Kernel, KernelArgument } from './kernel.ts';

/** Parts of a training step. */
export type PhaseName =
  | 'data'
  | 'clear gradients'
  | 'forward'
  | 'backward'
  | 'reduce gradients'
  | 'gradient norm'
  | 'optimizer';

/** A piece of work. Pieces nest: a step has phases, a phase operators, an operator kernels; collectives stand anywhere. */
export type Work =
  | { readonly kind: 'step'; readonly name: string }
  | { readonly kind: 'phase'; readonly name: PhaseName }
  | { readonly kind: 'operator'; readonly name: string; readonly direction: 'forward' | 'backward' }
  | { readonly kind: 'kernel'; readonly kernel: Kernel; readonly values: readonly KernelArgument[] }
  | CollectiveWork;

/** One call of a group of ranks. A reduction is begun and finished: two pieces of work with one number. */
export interface CollectiveWork {
  readonly kind: 'collective';
  readonly name: string;
  /** Words for the group, the same on all its ranks and on no others. */
  readonly group: string;
  /** The how manieth call of the group; the same on all its ranks. Undefined between two ranks alone. */
  readonly number: number | undefined;
  readonly bytes: number;
  readonly part: 'whole' | 'start' | 'finish';
}

/** Told of all work. It must not change what the body does. */
export interface Observer {
  during<Result>(work: Work, body: () => Result): Result;
}

/** Runs a phase of a step, watched where somebody watches. */
export function phase<Result>(observer: Observer | undefined, name: PhaseName, body: () => Result): Result {
  return observer ? observer.during({ kind: 'phase', name }, body) : body();
}
