/** What an attention kernel is told besides its tensors: sizes, strides, mask and dropout. The native twin is problem.h. */

import type { Counter } from '../../tensor/counter.ts';

/** Where a row of a head stands: element b·batch + position·row + h·head. */
export interface Strides {
  readonly batch: number;
  readonly row: number;
  readonly head: number;
}

/** @typeParam Sample a number where it has been read already */
export interface AttentionProblem<Sample extends Counter = Counter> {
  /** b */
  readonly batch: number;
  /** n, of this rank. */
  readonly heads: number;
  /** sq */
  readonly queries: number;
  /** sk */
  readonly keys: number;
  /** Position of query 0 among the keys. */
  readonly offset: number;
  /** d */
  readonly width: number;
  readonly query: Strides;
  /** Of keys and of values. */
  readonly key: Strides;
  /** Scores are multiplied by it. */
  readonly scale: number;
  /** Query i sees keys up to i + offset. */
  readonly causal: boolean;
  /** Share of probabilities dropped. */
  readonly probability: number;
  readonly seed: number;
  readonly site: number;
  /** Global number of the sample in row 0. */
  readonly firstSample: Sample;
  /** S, the length of the whole sequence: it numbers the draws of dropout. */
  readonly sequence: number;
  /** Number, in the whole model, of the first head. */
  readonly headOffset: number;
}

/** Kinds of the native parameters, in order. */
export const problemParameters = [
  ...(['int', 'int', 'int', 'int', 'int', 'int'] as const), // sizes
  ...(['int', 'int', 'int', 'int', 'int', 'int'] as const), // strides
  ...(['float', 'int', 'float', 'uint32', 'uint32', 'counter', 'int', 'int'] as const), // scale, mask, dropout
] as const;

type Arguments<Kinds extends readonly unknown[], Sample> = {
  -readonly [I in keyof Kinds]: Kinds[I] extends 'counter' ? Sample : number;
};
export type ProblemArguments<Sample extends Counter = Counter> = Arguments<typeof problemParameters, Sample>;

export function argumentsOf(p: AttentionProblem): ProblemArguments {
  const sizes = [p.batch, p.heads, p.queries, p.keys, p.offset, p.width] as const;
  const strides = [p.query.batch, p.query.row, p.query.head, p.key.batch, p.key.row, p.key.head] as const;
  const dropout = [p.probability, p.seed, p.site, p.firstSample, p.sequence, p.headOffset] as const;
  return [...sizes, ...strides, p.scale, p.causal ? 1 : 0, ...dropout];
}

/** The inverse of `argumentsOf`. */
export function problemOf<Sample extends Counter>([
  batch,
  heads,
  queries,
  keys,
  offset,
  width,
  queryBatch,
  queryRow,
  queryHead,
  keyBatch,
  keyRow,
  keyHead,
  scale,
  causal,
  ...[probability, seed, site, firstSample, sequence, headOffset]
]: ProblemArguments<Sample>): AttentionProblem<Sample> {
  const query = { batch: queryBatch, row: queryRow, head: queryHead };
  const key = { batch: keyBatch, row: keyRow, head: keyHead };
  const dropout = { probability, seed, site, firstSample, sequence, headOffset };
  return { batch, heads, queries, keys, offset, width, query, key, scale, causal: causal === 1, ...dropout };
}
