/** A rank that compares the vocabulary's embedding, logits and loss, split over the ranks, with serial ones. */

import { Tape } from '../../../src/autograd/tape.ts';
import type { Communicator } from '../../../src/comm/communicator.ts';
import { add } from '../../../src/ops/add/op.ts';
import { crossEntropy } from '../../../src/ops/cross-entropy/op.ts';
import { embedding } from '../../../src/ops/embedding/op.ts';
import { linear } from '../../../src/ops/linear/op.ts';
import { weightedSum } from '../../../src/ops/weighted-sum/op.ts';
import { Parameters } from '../../../src/parallel/parameters.ts';
import { VocabParallelEmbedding, vocabParallelCrossEntropy } from '../../../src/parallel/vocabulary.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { Tensor } from '../../../src/tensor/tensor.ts';
import { exactEngine } from '../engines.ts';
import { integers, numbers } from '../numbers.ts';
import {
  boxOf,
  comparingRank,
  type Differences,
  difference,
  drawn,
  fill,
  gradientOf,
  leaf,
  partOf,
  unequal,
} from './comparing.ts';

export default comparingRank((world, engine) => ({
  ...crossEntropies(world, engine),
  ...embeddings(world, engine),
  ...logits(world, engine),
}));

const idTensor = (engine: Engine, ids: readonly number[], shape: readonly number[]): Tensor =>
  Tensor.from(engine, ids, shape, { dtype: 'i32' });

/** Loss and gradient of whole logits [13, 17, v] in double precision. */
function exactLoss(values: readonly number[], labels: readonly number[], weights: readonly number[], v: number) {
  using engine = exactEngine();
  return engine.scope(() => {
    const whole = leaf(engine, values, [13, 17, v]);
    using tape = new Tape(engine);
    const losses = crossEntropy(whole, idTensor(engine, labels, [13, 17]));
    const loss = losses.toArray();
    tape.backward(weightedSum(losses, Tensor.from(engine, weights, [13, 17])));
    return { loss, gradient: whole.grad?.toArray() ?? [] };
  });
}

/** Megatron's test_cross_entropy: b 13, s 17, 11 entries a rank, logits up to ±1000; and with padding and labels outside. */
function crossEntropies(world: Communicator, engine: Engine): Differences {
  const share = 11;
  const result: Differences = {};
  const cases = {
    '': { entries: share * world.size, isLeaf: true },
    ' over an intermediate result': { entries: share * world.size, isLeaf: false },
    ' with padding': { entries: share * world.size - 2, isLeaf: false },
    // the last rank has nothing but padding
    ' with an empty part': { entries: Math.max(5, share * (world.size - 1) - 3), isLeaf: false },
  };
  for (const [name, { entries, isLeaf }] of Object.entries(cases)) {
    const v = share * world.size;
    // every rank has 11 columns; those behind the vocabulary hold what must not be looked at
    const padded = numbers({ shape: [13, 17, v], key: 1, scale: 1000 });
    const whole = boxOf(padded, [13, 17, v], [0, 0, 0], [13, 17, entries]);
    const labels = integers(13 * 17, 2, entries);
    [labels[5], labels[50]] = [-1, entries];
    const weights = numbers({ shape: [13, 17], key: 3 });
    const exact = exactLoss(whole, labels, weights, entries);

    const firstEntry = share * world.rank;
    const ownEntries = Math.max(0, Math.min(share, entries - firstEntry));
    const columns = boxOf(padded, [13, 17, v], [0, 0, firstEntry], [13, 17, share]);
    const own = leaf(
      engine,
      columns.map((value, i) => (i % share < ownEntries ? value : Number.NaN)),
      [13, 17, share],
    );
    const zero = Tensor.zeros(engine, [13, 17, share]);
    using tape = new Tape(engine);
    const losses = vocabParallelCrossEntropy(
      ...([isLeaf ? own : add(own, zero), idTensor(engine, labels, [13, 17])] as const),
      ...([{ firstEntry, ownEntries, entries }, world] as const),
    );
    const loss = losses.toArray();
    tape.backward(weightedSum(losses, Tensor.from(engine, weights, [13, 17])));
    const gradient = own.grad?.toArray() ?? [];
    const expected = boxOf(exact.gradient, [13, 17, entries], [0, 0, firstEntry], [13, 17, ownEntries]);
    result[`cross-entropy${name}: loss`] = difference(loss, exact.loss);
    result[`cross-entropy${name}: gradient`] = difference(
      boxOf(gradient, [13, 17, share], [0, 0, 0], [13, 17, ownEntries]),
      expected,
      1,
    );
    if (ownEntries < share) {
      const rest = boxOf(gradient, [13, 17, share], [0, 0, ownEntries], [13, 17, share - ownEntries]);
      result[`cross-entropy${name}: gradient`] ||= rest.some((value) => value !== 0) ? Number.POSITIVE_INFINITY : 0;
    }
  }
  return result;
}

/** Megatron's test_layers: b 17, s 23, 48 entries of width 16; and 50 entries, which leave padding. */
function embeddings(world: Communicator, engine: Engine): Differences {
  const result: Differences = {};
  for (const entries of [48, 50]) {
    const table = numbers({ shape: [entries, 16], key: 4 });
    const ids = idTensor(engine, integers(17 * 23, 5, entries), [17, 23]);
    const weights = drawn(engine, { shape: [17, 23, 16], key: 6 });

    const serial = leaf(engine, table, [entries, 16]);
    const parameters = new Parameters();
    const size = { entries, width: 16, divisibleBy: 4, deviation: 1 };
    const split = new VocabParallelEmbedding(parameters, 'embedding', size, world);
    parameters.allocate(engine);
    fill(split.weight, table);
    const run = (forward: () => Tensor): number[] => {
      using tape = new Tape(engine);
      const y = forward();
      tape.backward(weightedSum(y, weights));
      return y.toArray();
    };
    const expected = run(() => embedding(ids, serial));
    const found = run(() => split.forward(ids));
    result[`embedding of ${entries}: forward`] = unequal(found, expected);
    result[`embedding of ${entries}: weight gradient`] = unequal(
      gradientOf(split.weight),
      partOf(split.weight, serial.grad?.data ?? []),
    );
    // rows behind the vocabulary get no gradient
    const padding = (split.weight.value.grad?.toArray() ?? []).slice(split.weight.stored.size);
    result[`embedding of ${entries}: gradient of the padding`] = padding.filter((value) => value !== 0).length;
    parameters[Symbol.dispose]();
  }
  return result;
}

/** hidden [3, 5, 12] → logits → loss by one table of 50 entries, against linear and crossEntropy in double precision. */
function logits(world: Communicator, engine: Engine): Differences {
  const [entries, shape] = [50, [3, 5, 12]];
  const table = numbers({ shape: [entries, 12], key: 7 });
  const hidden = numbers({ shape, key: 8 });
  const labels = integers(15, 9, entries);
  const weights = numbers({ shape: [3, 5], key: 10 });

  using exact = exactEngine();
  const expected = exact.scope(() => {
    const [x, weight] = [leaf(exact, hidden, shape), leaf(exact, table, [entries, 12])];
    using tape = new Tape(exact);
    const y = linear(x, weight);
    const all = y.toArray();
    const losses = crossEntropy(y, idTensor(exact, labels, [3, 5]));
    const loss = losses.toArray();
    tape.backward(weightedSum(losses, Tensor.from(exact, weights, [3, 5])));
    return { all, loss, dX: x.grad?.toArray() ?? [], dW: weight.grad?.toArray() ?? [] };
  });

  using parameters = new Parameters();
  const size = { entries, width: 12, divisibleBy: 4, deviation: 1 };
  const split = new VocabParallelEmbedding(parameters, 'output', size, world);
  parameters.allocate(engine);
  fill(split.weight, table);
  const x = leaf(engine, hidden, shape);
  const gathered = engine.withoutRecording(() => split.gatheredLogits(x));
  const columns = gathered.shape.at(-1) ?? 0;
  using tape = new Tape(engine);
  const losses = split.loss(split.logits(x), idTensor(engine, labels, [3, 5]));
  const loss = losses.toArray();
  tape.backward(weightedSum(losses, Tensor.from(engine, weights, [3, 5])));
  return {
    'logits, gathered': difference(boxOf(gathered.data, [3, 5, columns], [0, 0, 0], [3, 5, entries]), expected.all),
    'loss of logits': difference(loss, expected.loss),
    'loss of logits: dX': difference(x.grad?.data ?? [], expected.dX),
    'loss of logits: dW': difference(gradientOf(split.weight), partOf(split.weight, expected.dW)),
  };
}
