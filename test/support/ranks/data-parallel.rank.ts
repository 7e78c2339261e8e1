/** A rank that compares gradients summed by a GradientReducer with sums made by hand. */

import { Tape } from '../../../src/autograd/tape.ts';
import type { Communicator } from '../../../src/comm/communicator.ts';
import { linear } from '../../../src/ops/linear/op.ts';
import { weightedSum } from '../../../src/ops/weighted-sum/op.ts';
import { defaultBucketSize, GradientReducer } from '../../../src/parallel/data-parallel.ts';
import { type Parameter, Parameters } from '../../../src/parallel/parameters.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { numbers } from '../numbers.ts';
import { comparingRank, type Differences, drawn, fill, gradientOf, unequal } from './comparing.ts';

export default comparingRank((world, engine) => {
  const result: Differences = {};
  for (const [name, bucketSize] of Object.entries({
    'a bucket for each parameter': 1,
    'buckets of a hundred': 100,
    'one bucket a group': defaultBucketSize,
  })) {
    for (const [what, value] of Object.entries(reduced(world, engine, bucketSize))) result[`${name}: ${what}`] = value;
  }
  return result;
});

/** x → w1, b1 → w2, b2 → w3; and a parameter that no forward pass uses. */
class Net {
  readonly parameters = new Parameters();
  readonly layers: readonly (readonly [Parameter, Parameter])[];
  readonly unused: Parameter;

  constructor(engine: Engine) {
    const declare = (name: string, globalShape: readonly number[]): Parameter =>
      this.parameters.declare({
        name,
        globalShape,
        initial: { kind: 'constant', value: 0 },
        decay: globalShape.length > 1,
      });
    const sizes = [5, 13, 7, 3];
    this.layers = [0, 1, 2].map((i) => {
      const [inputs, outputs] = [sizes[i] as number, sizes[i + 1] as number];
      return [declare(`w${i}`, [outputs, inputs]), declare(`b${i}`, [outputs])] as const;
    });
    this.unused = this.parameters.declare({
      ...{ name: 'unused', globalShape: [11, 1], initial: { kind: 'constant', value: 0 }, decay: true },
    });
    this.parameters.allocate(engine);
    for (const [i, parameter] of this.parameters.all.entries()) {
      fill(parameter, numbers({ shape: parameter.spec.globalShape, key: 20 + i }));
    }
  }

  /** Adds the gradients of one micro-batch of one rank. */
  backward(engine: Engine, key: number, onLeaf?: OnLeaf): void {
    engine.scope(() => {
      using tape = new Tape(engine);
      let x = drawn(engine, { shape: [4, 5], key });
      for (const [weight, bias] of this.layers) x = linear(x, weight.value, bias.value);
      tape.backward(weightedSum(x, drawn(engine, { shape: [4, 3], key: key + 1 })), 0.5, onLeaf);
    });
  }

  /** What a rank's gradients are before the sum: of two micro-batches, and what a user put into the unused parameter's. */
  accumulate(engine: Engine, rank: number, onLast?: OnLeaf): void {
    this.parameters.clearGradients();
    this.unused.value.grad?.write(numbers({ shape: [11], key: 50 + rank }));
    this.backward(engine, 1000 + 10 * rank);
    this.backward(engine, 2000 + 10 * rank, onLast);
  }
}

type OnLeaf = (leaf: Parameter['value']) => void;

/** Every rank computes all ranks' gradients and adds them up, in rank order and in float32 as the collective does. */
function expectedSums(net: Net, engine: Engine, size: number): number[][] {
  const ofRanks = Array.from({ length: size }, (_, rank) => {
    net.accumulate(engine, rank);
    return net.parameters.all.map(gradientOf);
  });
  return net.parameters.all.map((_, p) =>
    (ofRanks[0]?.[p] ?? []).map((_, i) =>
      ofRanks.reduce((sum, gradients) => Math.fround(sum + (gradients[p]?.[i] as number)), 0),
    ),
  );
}

function reduced(world: Communicator, engine: Engine, bucketSize: number): Differences {
  const net = new Net(engine);
  using _parameters = net.parameters;
  const expected = expectedSums(net, engine, world.size);
  // the group, with an ear on what is started and when
  let started = 0;
  const group = Object.create(world, {
    startAllReduce: {
      value: (...call: StartArguments) => {
        started++;
        return world.startAllReduce(...call);
      },
    },
    size: { value: world.size },
    rank: { value: world.rank },
  }) as Communicator;
  using reducer = new GradientReducer(net.parameters, group, bucketSize);

  const result: Differences = { 'wrong numbers': 0, 'starts that overlap nothing': 0, 'buckets missed or twice': 0 };
  const buckets = new Set<number>();
  for (let step = 0; step < 2; step++) {
    started = 0;
    const startsAtLeaf: number[] = [];
    reducer.begin();
    net.accumulate(engine, world.rank, (leaf) => {
      reducer.leafReady(leaf);
      startsAtLeaf.push(started);
    });
    const beforeFinish = started;
    reducer.finish();
    for (const [p, parameter] of net.parameters.all.entries()) {
      result['wrong numbers'] = (result['wrong numbers'] ?? 0) + unequal(gradientOf(parameter), expected[p] ?? []);
    }
    if (world.size === 1) {
      if (reducer.isNeeded || started > 0) result['buckets missed or twice'] = 1;
      continue;
    }
    buckets.add(started);
    // the last layer's weight and bias are complete, and on their way, before the first layer's are
    if (bucketSize === 1 && !((startsAtLeaf[1] ?? 0) >= 2 && beforeFinish === 6 && started === 7)) {
      result['starts that overlap nothing'] = 1;
    }
    // two groups (weights decay, biases do not), the first with the unused parameter: it waits for the end
    if (bucketSize === defaultBucketSize && !(beforeFinish === 1 && started === 2)) {
      result['starts that overlap nothing'] = 1;
    }
  }
  // in memory the weights and the unused one take 96, 96, 32, 32: from the last on 160 and 96; the biases 96 together
  const known: Record<number, number> = { 1: 7, 100: 3, [defaultBucketSize]: 2 };
  if (world.size > 1 && !(buckets.size === 1 && buckets.has(known[bucketSize] ?? 0))) {
    result['buckets missed or twice'] = [...buckets][0] ?? 1;
  }
  return result;
}

type StartArguments = globalThis.Parameters<Communicator['startAllReduce']>;
