/** Attention in plain TypeScript, one query at a time; for float32 and float64 arrays. */

import type { Floats } from '../../tensor/dtype.ts';
import { dropoutRule, randomBits16 } from '../../tensor/philox.ts';
import type { AttentionProblem } from './problem.ts';

export interface AttentionData {
  readonly q: Floats;
  readonly k: Floats;
  readonly v: Floats;
  readonly out: Floats;
  readonly logSumExp: Floats;
  readonly firstKey: Int32Array | undefined;
}

export interface AttentionGradients {
  readonly dOut: Floats;
  readonly dq: Floats;
  readonly dk: Floats;
  readonly dv: Floats;
  /** Whether dq, dk and dv are added to. */
  readonly accumulate: boolean;
}

/** One query: where its numbers are and which keys it sees. */
interface Query {
  readonly batch: number;
  readonly head: number;
  readonly index: number;
  /** First element of its q and dq row. */
  readonly at: number;
  /** First element of its out and dOut row. */
  readonly outAt: number;
  readonly statisticAt: number;
  /** It sees the keys [first, end). */
  readonly first: number;
  readonly end: number;
  /** First element of row `first` of k and v. */
  readonly keyAt: number;
}

function forEachQuery(
  p: AttentionProblem<number>,
  firstKey: Int32Array | undefined,
  visit: (query: Query) => void,
): void {
  for (let batch = 0; batch < p.batch; batch++) {
    for (let head = 0; head < p.heads; head++) {
      for (let index = 0; index < p.queries; index++) {
        const first = Math.max(0, firstKey?.[batch * p.queries + index] ?? 0);
        visit({
          batch,
          head,
          index,
          at: batch * p.query.batch + index * p.query.row + head * p.query.head,
          outAt: ((batch * p.queries + index) * p.heads + head) * p.width,
          statisticAt: (batch * p.heads + head) * p.queries + index,
          first,
          end: p.causal ? Math.min(p.keys, index + p.offset + 1) : p.keys,
          keyAt: batch * p.key.batch + first * p.key.row + head * p.key.head,
        });
      }
    }
  }
}

function dot(a: Floats, aAt: number, b: Floats, bAt: number, width: number): number {
  let sum = 0;
  for (let c = 0; c < width; c++) sum += (a[aAt + c] as number) * (b[bAt + c] as number);
  return sum;
}

/** to += factor · from */
function addScaled(to: Floats, toAt: number, from: Floats, fromAt: number, factor: number, width: number): void {
  for (let c = 0; c < width; c++) to[toAt + c] = (to[toAt + c] as number) + factor * (from[fromAt + c] as number);
}

/** Fills factors[j] with what dropout makes of the query's probability of key j: 0 or 1/(1 − p). */
function dropoutFactors(p: AttentionProblem<number>): (query: Query, factors: Float64Array) => void {
  const { threshold, scale } = dropoutRule(p.probability);
  const blocks = Math.ceil(p.sequence / 8);
  const words = new Uint32Array(4);
  const bits = new Uint16Array(8);
  return (query, factors) => {
    if (threshold === 0) return;
    const row = ((p.headOffset + query.head) * p.sequence + p.offset + query.index) * blocks;
    for (let block = Math.floor(query.first / 8); 8 * block < query.end; block++) {
      randomBits16(p, p.firstSample + query.batch, row + block, words, bits);
      for (let i = 0; i < 8; i++) factors[8 * block + i] = (bits[i] as number) < threshold ? 0 : scale;
    }
  };
}

export function referenceForward(
  p: AttentionProblem<number>,
  { q, k, v, out, logSumExp, firstKey }: AttentionData,
): void {
  const scores = new Float64Array(p.keys);
  const factors = new Float64Array(p.keys + 8).fill(1);
  const sums = new Float64Array(p.width);
  const draw = dropoutFactors(p);
  forEachQuery(p, firstKey, (query) => {
    const { first, end, at, keyAt, outAt } = query;
    let largest = -Infinity;
    for (let j = first; j < end; j++) {
      const score = p.scale * dot(q, at, k, keyAt + (j - first) * p.key.row, p.width);
      scores[j] = score;
      largest = Math.max(largest, score);
    }
    draw(query, factors);
    sums.fill(0);
    let total = 0;
    for (let j = first; j < end; j++) {
      const weight = Math.exp((scores[j] as number) - largest);
      total += weight;
      addScaled(sums, 0, v, keyAt + (j - first) * p.key.row, weight * (factors[j] as number), p.width);
    }
    for (let c = 0; c < p.width; c++) out[outAt + c] = total === 0 ? 0 : (sums[c] as number) / total;
    logSumExp[query.statisticAt] = largest + Math.log(total);
  });
}

/**
 * With P the probabilities, D the dropout factors and Δ = dO·O of the query:
 * dV = (P∘D)ᵀ dO,  dP = D ∘ (dO Vᵀ),  dS = P ∘ (dP − Δ),  dQ = scale · dS K,  dK = scale · dSᵀ Q.
 */
export function referenceBackward(
  p: AttentionProblem<number>,
  data: AttentionData,
  gradients: AttentionGradients,
): void {
  const { q, k, v, out, logSumExp, firstKey } = data;
  const { dOut, dq, dk, dv } = gradients;
  if (!gradients.accumulate) clear(p, gradients);
  const factors = new Float64Array(p.keys + 8).fill(1);
  const draw = dropoutFactors(p);
  forEachQuery(p, firstKey, (query) => {
    const { first, end, at, keyAt, outAt } = query;
    const delta = dot(dOut, outAt, out, outAt, p.width);
    draw(query, factors);
    for (let j = first; j < end; j++) {
      const row = keyAt + (j - first) * p.key.row;
      const factor = factors[j] as number;
      const probability = Math.exp(p.scale * dot(q, at, k, row, p.width) - (logSumExp[query.statisticAt] as number));
      const gradient = probability * (factor * dot(dOut, outAt, v, row, p.width) - delta) * p.scale;
      addScaled(dv, row, dOut, outAt, probability * factor, p.width);
      addScaled(dk, row, q, at, gradient, p.width);
      addScaled(dq, at, k, row, gradient, p.width);
    }
  });
}

function clear(p: AttentionProblem<number>, { dq, dk, dv }: AttentionGradients): void {
  for (let batch = 0; batch < p.batch; batch++) {
    for (let head = 0; head < p.heads; head++) {
      for (let i = 0; i < p.queries; i++) {
        const at = batch * p.query.batch + i * p.query.row + head * p.query.head;
        dq.fill(0, at, at + p.width);
      }
      for (let j = 0; j < p.keys; j++) {
        const at = batch * p.key.batch + j * p.key.row + head * p.key.head;
        dk.fill(0, at, at + p.width);
        dv.fill(0, at, at + p.width);
      }
    }
  }
}
