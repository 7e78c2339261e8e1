/**
 * A model of your own in under 60 lines: a network of two layers learns to name the larger of two numbers' sums modulo 7.
 *
 *     node examples/own-model.ts      (Node 24; in a clone: npm run example)
 */

import {
  createEngine,
  crossEntropy,
  Embedding,
  type Engine,
  Linear,
  Parameters,
  pretrain,
  reshape,
  Tensor,
  weightedSum,
} from '../src/index.ts';

const modulus = 7;
const rows = 64;

/** (a + b) mod 7 by embedding both numbers, a hidden layer with GELU, and logits. */
class Adder {
  readonly parameters = new Parameters();
  readonly numbers = new Embedding(this.parameters, 'numbers', { entries: modulus, width: 32 }, 0.5);
  readonly hidden = new Linear(this.parameters, 'hidden', 64, 128, 0.1);
  readonly output = new Linear(this.parameters, 'output', 128, modulus, 0.1);

  /** pairs int32 [rows, 2] → logits [rows, 7] */
  forward(pairs: Tensor): Tensor {
    const both = reshape(this.numbers.forward(pairs), [rows, 64]);
    return this.output.forward(this.hidden.forwardGelu(both, 'erf'));
  }
}

/** Batch k of an endless stream: a function of k alone, so a resumed run sees the same data. */
function batches(start: number) {
  let consumedSamples = start;
  return {
    next: () =>
      Int32Array.from({ length: 2 * rows }, (_, i) => ((consumedSamples++ + 1) * 2654435761 * (i + 1)) % modulus),
    get consumedSamples() {
      return consumedSamples;
    },
  };
}

function lossSum(engine: Engine, pairs: Int32Array, model: Adder): Tensor {
  const sums = Array.from({ length: rows }, (_, i) => ((pairs[2 * i] ?? 0) + (pairs[2 * i + 1] ?? 0)) % modulus);
  const logits = model.forward(Tensor.from(engine, pairs, [rows, 2], { dtype: 'i32' }));
  const losses = crossEntropy(logits, Tensor.from(engine, sums, [rows], { dtype: 'i32' }));
  return weightedSum(losses, Tensor.from(engine, new Float32Array(rows).fill(1), [rows]));
}

using engine = await createEngine({ notify: console.error });
await pretrain(
  () => new Adder(),
  () => ({ train: batches, countTerms: () => rows }),
  (pairs, model) => lossSum(engine, pairs, model),
  {
    ...{ engine, seed: 1, microBatchSize: rows, globalBatchSize: rows, trainIters: 300, logInterval: 50, clipGrad: 1 },
    ...{ lr: 3e-3, minLr: 3e-4, lrDecayStyle: 'cosine', lrDecayIters: 300, lrWarmupIters: 10 },
    adam: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
    report: () => ({ logged: ({ iteration, loss }) => console.log(`iteration ${iteration}: loss ${loss.toFixed(4)}`) }),
  },
);
