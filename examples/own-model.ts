/** A model of your own in under 60 lines: two layers learn addition modulo 7. In a clone: npm run example */

import {
  createEngine,
  crossEntropy,
  Embedding,
  Linear,
  Parameters,
  pretrain,
  reshape,
  Tensor,
  weightedSum,
} from '../src/index.ts';

const modulus = 7;
const rows = 64;
using engine = await createEngine({ notify: console.error });

/** Embeds both numbers, [rows, 2] → [rows, 64]; a hidden layer with GELU; logits [rows, 7]. */
class Adder {
  readonly parameters = new Parameters();
  readonly numbers = new Embedding(this.parameters, 'numbers', { entries: modulus, width: 32 }, 0.5);
  readonly hidden = new Linear(this.parameters, 'hidden', 64, 128, 0.1);
  readonly output = new Linear(this.parameters, 'output', 128, modulus, 0.1);

  forward(pairs: Tensor): Tensor {
    const both = reshape(this.numbers.forward(pairs), [rows, 64]);
    return this.output.forward(this.hidden.forwardGelu(both, 'erf'));
  }
}

/** Sample n is a function of n alone, so a resumed run sees the same data. */
function batches(consumedSamples: number) {
  const sample = (n: number): [number, number] => [n % modulus, Math.floor(n / modulus) % modulus];
  const next = (): [number, number][] => Array.from({ length: rows }, () => sample(stream.consumedSamples++));
  const stream = { consumedSamples, next };
  return stream;
}

function lossSum(pairs: [number, number][], model: Adder): Tensor {
  const logits = model.forward(Tensor.from(engine, pairs.flat(), [rows, 2], { dtype: 'i32' }));
  const sums = pairs.map(([a, b]) => (a + b) % modulus);
  const losses = crossEntropy(logits, Tensor.from(engine, sums, [rows], { dtype: 'i32' })); // [rows]
  return weightedSum(losses, Tensor.from(engine, new Float32Array(rows).fill(1), [rows]));
}

await pretrain(
  () => new Adder(),
  () => ({ train: batches, countTerms: () => rows }),
  lossSum,
  {
    ...{ engine, seed: 1, microBatchSize: rows, globalBatchSize: rows, trainIters: 200, logInterval: 50, clipGrad: 1 },
    ...{ lr: 3e-3, minLr: 3e-4, lrDecayStyle: 'cosine', lrDecayIters: 200, lrWarmupIters: 10 },
    adam: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
    report: () => ({ logged: ({ iteration, loss }) => console.log(`iteration ${iteration}: loss ${loss.toFixed(4)}`) }),
  },
);
