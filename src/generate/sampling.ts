/** Choosing the next token from logits: greedy, or drawn after temperature, top-k and top-p. */

import { MegatronError } from '../base/errors.ts';
import { streamSeed } from '../parallel/random.ts';
import { philox4x32 } from '../tensor/philox.ts';

export interface SamplingOptions {
  /** Always the likeliest token (of equals, the lowest id). */
  readonly greedy?: boolean;
  /** Divides the logits. Default 1. */
  readonly temperature?: number;
  /** Keep this many likeliest tokens, and all that equal the last of them; 0 keeps all. */
  readonly topK?: number;
  /** Keep the likeliest tokens until their probabilities pass this; 0 keeps all. Counted after top-k, as Megatron does. */
  readonly topP?: number;
}

/** Uniform numbers in [0, 1) by (seed, sample, position): the same text for the same seed, whatever ran before. */
export function uniformAt(seed: number, sample: number, position: number): number {
  const words = new Uint32Array(4);
  philox4x32([position, 0, 0, 0], [streamSeed(seed, 'generation'), sample], words);
  return (words[0] as number) / 2 ** 32;
}

/**
 * @param logits one row, [v]
 * @param uniform in [0, 1); decides the draw
 * @returns a token id
 * @throws MegatronError when a logit is NaN or +∞: such a model writes nothing but noise.
 */
export function chooseToken(logits: ArrayLike<number>, options: SamplingOptions, uniform: number): number {
  expectNumbers(logits);
  if (options.greedy) return likeliest(logits);
  const temperature = options.temperature ?? 1;
  const scaled = Float64Array.from(logits, (logit) => logit / temperature);
  keepTopK(scaled, options.topK ?? 0);
  const weights = softmaxInPlace(scaled);
  keepTopP(weights, options.topP ?? 0);
  return draw(weights, uniform);
}

function expectNumbers(logits: ArrayLike<number>): void {
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number;
    if (logit < Number.POSITIVE_INFINITY) continue;
    throw new MegatronError(`the model gives the token ${id} a logit of ${logit}`, {
      remedy: 'Its training diverged: load an earlier checkpoint.',
    });
  }
}

function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] as number) > (logits[best] as number)) best = id;
  return best;
}

function keepTopK(logits: Float64Array, count: number): void {
  if (count <= 0 || count >= logits.length) return;
  const bound = logits.toSorted().at(-count) as number;
  for (let id = 0; id < logits.length; id++) if ((logits[id] as number) < bound) logits[id] = -Infinity;
}

function softmaxInPlace(logits: Float64Array): Float64Array {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (let id = 0; id < logits.length; id++) {
    const weight = Math.exp((logits[id] as number) - largest);
    logits[id] = weight;
    sum += weight;
  }
  for (let id = 0; id < logits.length; id++) logits[id] = (logits[id] as number) / sum;
  return logits;
}

function keepTopP(probabilities: Float64Array, bound: number): void {
  if (bound <= 0 || bound >= 1) return;
  const order = Array.from(probabilities.keys()).sort(
    (a, b) => (probabilities[b] as number) - (probabilities[a] as number) || a - b,
  );
  let sum = 0;
  for (const id of order) {
    // the first token that crosses the bound stays
    if (sum > bound) probabilities[id] = 0;
    else sum += probabilities[id] as number;
  }
}

function draw(weights: Float64Array, uniform: number): number {
  let total = 0;
  for (const weight of weights) total += weight;
  let left = uniform * total;
  let last = 0;
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] as number;
    if (weight === 0) continue;
    last = id;
    left -= weight;
    if (left < 0) return id;
  }
  return last; // rounding may leave a crumb of `left`
}
