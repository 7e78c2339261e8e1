/** A rank that compares f, g and the split linear layers with their serial forms in double precision. */

import { Tape } from '../../../src/autograd/tape.ts';
import type { Communicator } from '../../../src/comm/communicator.ts';
import { add } from '../../../src/ops/add/op.ts';
import { gelu } from '../../../src/ops/gelu/op.ts';
import { linear } from '../../../src/ops/linear/op.ts';
import { weightedSum } from '../../../src/ops/weighted-sum/op.ts';
import { ColumnParallelLinear, RowParallelLinear } from '../../../src/parallel/layers.ts';
import { copyToGroup, reduceFromGroup } from '../../../src/parallel/mappings.ts';
import { Parameters } from '../../../src/parallel/parameters.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { Tensor } from '../../../src/tensor/tensor.ts';
import { exactEngine } from '../engines.ts';
import { numbers } from '../numbers.ts';
import {
  comparingRank,
  type Differences,
  difference,
  drawn,
  fill,
  gradientOf,
  lastPart,
  leaf,
  partOf,
  unequal,
} from './comparing.ts';

export default comparingRank((world, engine) => ({
  ...mappings(world, engine),
  ...column(world, engine, 'linear'),
  ...column(world, engine, 'gelu'),
  ...row(world, engine, 'with its bias'),
  ...row(world, engine, 'without bias'),
  ...initial(world, engine),
}));

/** Numbers that are another on every rank. */
const ofRank = (rank: number, key: number): number[] => numbers({ shape: [5, 7], key: 100 * key + rank });

/** Σ over the ranks in rank order, each step rounded to float32 as the collective rounds. */
function summed({ size }: Communicator, key: number): number[] {
  const all = Array.from({ length: size }, (_, rank) => ofRank(rank, key));
  return (all[0] ?? []).map((_, i) => all.reduce((sum, part) => Math.fround(sum + (part[i] as number)), 0));
}

function mappings(world: Communicator, engine: Engine): Differences {
  const calls = (): number => world.statistics.calls;
  const own = (key: number): Tensor => Tensor.from(engine, ofRank(world.rank, key), [5, 7]);
  const result: Differences = {};

  const x = leaf(engine, ofRank(0, 1), [5, 7]);
  const [before, tape] = [calls(), new Tape(engine)];
  const y = copyToGroup(x, world);
  result['f: forward'] = unequal(y.data, x.data);
  result['f: collectives forward'] = calls() - before;
  tape.backward(weightedSum(y, own(2)));
  result['f: backward'] = unequal(x.grad?.data ?? [], summed(world, 2));
  // the group of one rank has nothing to reduce
  result['f: collectives backward'] = Math.abs(calls() - before - (world.size > 1 ? 1 : 0));
  tape[Symbol.dispose]();

  // a sum hands one gradient to two inputs: that of the other must stay this rank's own
  const [shared, other] = [leaf(engine, ofRank(0, 1), [5, 7]), leaf(engine, ofRank(0, 3), [5, 7])];
  using second = new Tape(engine);
  second.backward(weightedSum(add(copyToGroup(shared, world), add(other, own(4))), own(2)));
  result['f: backward of a shared gradient'] = unequal(shared.grad?.data ?? [], summed(world, 2));
  result['f: the gradient it shares'] = unequal(other.grad?.data ?? [], ofRank(world.rank, 2));

  const partial = leaf(engine, ofRank(world.rank, 5), [5, 7]);
  const zero = Tensor.zeros(engine, [5, 7]);
  using third = new Tape(engine);
  const start = calls();
  const total = reduceFromGroup(add(partial, zero), world);
  result['g: forward'] = unequal(total.data, summed(world, 5));
  result['g: collectives forward'] = Math.abs(calls() - start - (world.size > 1 ? 1 : 0));
  const middle = calls();
  third.backward(weightedSum(total, Tensor.from(engine, ofRank(0, 6), [5, 7])));
  result['g: backward'] = unequal(partial.grad?.data ?? [], ofRank(0, 6));
  result['g: collectives backward'] = calls() - middle;
  return result;
}

const [inputs, outputs, rows] = [36, 60, [7, 5]];
const [xs, ys] = [
  [...rows, inputs],
  [...rows, outputs],
];
const input = numbers({ shape: xs, key: 10 });
const weight = numbers({ shape: [outputs, inputs], key: 11 });
const bias = numbers({ shape: [outputs], key: 12 });
const upstream = numbers({ shape: ys, key: 13 });

interface Results {
  readonly y: readonly number[];
  readonly dX: readonly number[];
  readonly dW: readonly number[];
  readonly db: readonly number[];
}

/** The serial layer in double precision: its gradients are the closed forms dX = dY·W, dW = dYᵀ·X, db = Σ dY. */
function exactLinear(form: 'linear' | 'gelu', withBias = true): Results {
  using engine = exactEngine();
  return engine.scope(() => {
    const [x, w] = [leaf(engine, input, xs), leaf(engine, weight, [outputs, inputs])];
    const b = withBias ? leaf(engine, bias, [outputs]) : undefined;
    using tape = new Tape(engine);
    const product = linear(x, w, b);
    const y = form === 'gelu' ? gelu(product) : product;
    tape.backward(weightedSum(y, Tensor.from(engine, upstream, ys)));
    const values = (tensor: Tensor | undefined): number[] => tensor?.grad?.toArray() ?? [];
    return { y: y.toArray(), dX: values(x), dW: values(w), db: values(b) };
  });
}

const sum = (y: readonly number[], weights: readonly number[]): number =>
  y.reduce((total, value, i) => total + value * (weights[i] as number), 0);

function column(world: Communicator, engine: Engine, form: 'linear' | 'gelu'): Differences {
  const exact = exactLinear(form);
  using parameters = new Parameters();
  const layer = new ColumnParallelLinear(parameters, 'column', { inputs, outputs, deviation: 1 }, world);
  parameters.allocate(engine);
  fill(layer.weight, weight);
  fill(layer.bias, bias);
  const x = leaf(engine, input, xs);
  using tape = new Tape(engine);
  const y = form === 'gelu' ? layer.forwardGelu(x, 'erf') : layer.forward(x); // [7, 5, 60/t]
  const own = lastPart(upstream, ys, world);
  tape.backward(weightedSum(y, Tensor.from(engine, own, y.shape)));
  const name = `column-parallel ${form}`;
  return {
    [`${name}: output`]: difference(y.data, lastPart(exact.y, ys, world)),
    [`${name}: loss`]: difference(
      [world.exchange(sum(y.toArray(), own)).reduce((a, b) => a + b)],
      [sum(exact.y, upstream)],
    ),
    [`${name}: dX`]: difference(x.grad?.data ?? [], exact.dX),
    [`${name}: dW`]: difference(gradientOf(layer.weight), partOf(layer.weight, exact.dW)),
    [`${name}: db`]: difference(gradientOf(layer.bias), partOf(layer.bias, exact.db)),
  };
}

function row(world: Communicator, engine: Engine, form: 'with its bias' | 'without bias'): Differences {
  const withBias = form === 'with its bias';
  const exact = exactLinear('linear', withBias);
  using parameters = new Parameters();
  const layer = new RowParallelLinear(parameters, 'row', { inputs, outputs, deviation: 1 }, world);
  parameters.allocate(engine);
  fill(layer.weight, weight);
  fill(layer.bias, bias);
  const part = lastPart(input, xs, world);
  const x = leaf(engine, part, [...rows, inputs / world.size]);
  using tape = new Tape(engine);
  const y = withBias ? layer.forward(x) : layer.forwardWithoutBias(x); // [7, 5, 60]
  tape.backward(weightedSum(y, drawn(engine, { shape: ys, key: 13 })));
  const name = `row-parallel linear ${form}`;
  return {
    [`${name}: output`]: difference(y.data, exact.y),
    [`${name}: loss`]: difference([sum(y.toArray(), upstream)], [sum(exact.y, upstream)]),
    [`${name}: dX`]: difference(x.grad?.data ?? [], lastPart(exact.dX, xs, world)),
    [`${name}: dW`]: difference(gradientOf(layer.weight), partOf(layer.weight, exact.dW)),
    ...(withBias ? { [`${name}: db`]: difference(gradientOf(layer.bias), exact.db) } : {}),
  };
}

/** Megatron's test_initialize_affine_weight: a rank's initial weights are those of its place in the whole. */
function initial(world: Communicator, engine: Engine): Differences {
  using serial = new Parameters();
  const normal = { kind: 'normal', deviation: 0.3 } as const;
  const whole = ['column', 'row'].map((name) =>
    serial.declare({ name: `${name}.weight`, globalShape: [outputs, inputs], initial: normal, decay: true }),
  );
  using parameters = new Parameters();
  const size = { inputs, outputs, deviation: 0.3 };
  const split = [
    new ColumnParallelLinear(parameters, 'column', size, world),
    new RowParallelLinear(parameters, 'row', size, world),
  ];
  for (const one of [serial, parameters]) {
    one.allocate(engine);
    one.initialize(4321);
  }
  const wrong = split.map((layer, i) =>
    unequal(layer.weight.stored.data, partOf(layer.weight, whole[i]?.stored.data ?? [])),
  );
  const biases = split.map((layer) => layer.bias.stored.toArray().filter((value) => value !== 0).length);
  return {
    'initial weights, column-parallel': wrong[0] ?? Number.NaN,
    'initial weights, row-parallel': wrong[1] ?? Number.NaN,
    'initial biases': Math.max(...biases),
  };
}
