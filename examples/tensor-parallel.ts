/** A two-layer net of your own on one and on two ranks. Run: node scripts/bootstrap.mjs examples/tensor-parallel.ts */

import { isMainThread } from 'node:worker_threads';
import {
  ColumnParallelLinear,
  type Communicator,
  createEngine,
  createRankGrid,
  crossEntropy,
  Embedding,
  launch,
  Parameters,
  pretrain,
  RowParallelLinear,
  Tensor,
  weightedSum,
} from '../src/index.ts';

const count = 64;

/** Learns n → n² mod 64. It has two `Linear`s, written as a column- and a row-parallel one: each rank holds 1/t of both. */
class Squarer {
  readonly parameters = new Parameters();
  readonly numbers = new Embedding(this.parameters, 'numbers', { entries: count, width: 32 }, 0.5);
  readonly hidden: ColumnParallelLinear;
  readonly output: RowParallelLinear;

  constructor(group: Communicator) {
    const [widen, narrow] = [
      { inputs: 32, outputs: 256, deviation: 0.1 },
      { inputs: 256, outputs: count, deviation: 0.1 },
    ];
    this.hidden = new ColumnParallelLinear(this.parameters, 'hidden', widen, group);
    this.output = new RowParallelLinear(this.parameters, 'output', narrow, group);
  }

  forward(ids: Tensor): Tensor {
    const x = this.numbers.forward(ids); // [64, 32], the same on every rank
    const wide = this.hidden.forwardGelu(x, 'erf'); // [64, 256/t], a part on each rank
    return this.output.forward(wide); // [64, 64], summed over the ranks, the same on each
  }
}

/** What every rank runs. @returns the loss of each iteration; those of rank 0 count */
export default async function train(world: Communicator): Promise<number[]> {
  using engine = await createEngine({ threads: 1 });
  const integers = (values: number[]) => Tensor.from(engine, values, [count], { dtype: 'i32' });
  const all = Array.from({ length: count }, (_, n) => n);
  const grid = createRankGrid(world, world.size); // all ranks split one model
  const losses: number[] = [];
  const { model } = await pretrain(
    () => new Squarer(grid.tensor),
    () => ({ train: (consumedSamples) => ({ consumedSamples, next: () => all }), countTerms: () => count }),
    (batch, squarer) => {
      const squares = integers(batch.map((n) => (n * n) % count));
      const tokenLosses = crossEntropy(squarer.forward(integers(batch)), squares); // [64]
      return weightedSum(tokenLosses, Tensor.from(engine, new Float32Array(count).fill(1), [count]));
    },
    {
      ...{ engine, grid, seed: 1, microBatchSize: count, globalBatchSize: count, trainIters: 40, clipGrad: 1 },
      ...{ lr: 3e-3, minLr: 3e-4, lrDecayStyle: 'cosine', lrDecayIters: 40, lrWarmupIters: 4, logInterval: 40 },
      adam: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
      report: () => ({ stepped: ({ loss }) => losses.push(loss) }),
    },
  );
  model.parameters[Symbol.dispose]();
  return losses;
}

if (isMainThread) {
  const [one = []] = await launch<number[]>(1, import.meta.url);
  const [two = []] = await launch<number[]>(2, import.meta.url);
  for (const i of [0, 9, 19, 39])
    console.log(`iteration ${i + 1}: loss ${one[i]?.toFixed(9)} on one rank, ${two[i]?.toFixed(9)} on two`);
  const worst = Math.max(...one.map((loss, i) => Math.abs(loss - (two[i] ?? Number.NaN)) / loss));
  console.log(`largest relative difference of ${one.length} losses: ${worst.toExponential(1)}`);
}
