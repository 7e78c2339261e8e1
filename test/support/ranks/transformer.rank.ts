/** A rank that compares self-attention, a transformer layer and a whole GPT, split over the ranks, with the same on one rank. */

import { Tape } from '../../../src/autograd/tape.ts';
import type { Communicator } from '../../../src/comm/communicator.ts';
import { selfCommunicator } from '../../../src/comm/self.ts';
import { GptModel } from '../../../src/model/gpt.ts';
import { type ForwardState, TransformerLayer } from '../../../src/model/transformer-layer.ts';
import { attention } from '../../../src/ops/attention/op.ts';
import { weightedSum } from '../../../src/ops/weighted-sum/op.ts';
import { gradientNorm } from '../../../src/optim/gradient-norm.ts';
import { type Parameter, Parameters } from '../../../src/parallel/parameters.ts';
import type { Engine } from '../../../src/tensor/engine.ts';
import { Tensor } from '../../../src/tensor/tensor.ts';
import { integers, numbers } from '../numbers.ts';
import { tinyConfig } from '../tiny-gpt.ts';
import { comparingRank, type Differences, difference, drawn, gradientOf, leaf, partOf, unequal } from './comparing.ts';

/** Megatron's sizes: b 5, s 13, heads of width 7; 12 heads divide by 1, 2, 3 and 4. */
const [batch, sequence, heads, width] = [5, 13, 12, 7];
const hidden = heads * width;
const shape = [batch, sequence, hidden];
const config = tinyConfig({ hiddenSize: hidden, numAttentionHeads: heads, ffnHiddenSize: 4 * hidden });
const state: ForwardState = { training: true, firstSample: 3 };
const dropout = { probability: 0.1, seed: 5, site: 9, firstSample: 3 };

export default comparingRank((world, engine) => ({
  ...maskedHeads(world, engine),
  ...selfAttention(world, engine),
  ...transformerLayer(world, engine),
  ...wholeModel(world, engine),
}));

/** Heads do not know of each other, so a rank's must come out as its slice of all, dropout included. */
function maskedHeads(world: Communicator, engine: Engine): Differences {
  const own = heads / world.size;
  const first = world.rank * own;
  const all = numbers({ shape: [batch, sequence, heads, 3 * width], key: 1 });
  const upstream = numbers({ shape: [batch, sequence, heads, width], key: 2 });
  /** [b, s, n, x] → this rank's heads */
  const slice = (values: ArrayLike<number>, x: number): number[] =>
    Array.from({ length: batch * sequence }, (_, row) =>
      Array.from({ length: own * x }, (_, i) => values[(row * heads + first) * x + i] as number),
    ).flat();
  const run = (qkv: readonly number[], dOut: readonly number[], count: number, headOffset: number) => {
    const x = leaf(engine, qkv, [batch, sequence, count * 3 * width]);
    using tape = new Tape(engine);
    const y = attention(x, { heads: count, headOffset, dropout: { ...dropout, probability: 0.5 } });
    tape.backward(weightedSum(y, Tensor.from(engine, dOut, y.shape)));
    return { y: y.toArray(), dX: x.grad?.toArray() ?? [] };
  };
  const whole = run(all, upstream, heads, 0);
  const part = run(slice(all, 3 * width), slice(upstream, width), own, first);
  return {
    'attention heads: output': unequal(part.y, slice(whole.y, width)),
    'attention heads: gradient': unequal(part.dX, slice(whole.dX, 3 * width)),
  };
}

interface Outcome {
  readonly loss: number;
  readonly output: readonly number[];
  readonly dX: readonly number[];
  readonly gradients: readonly (readonly number[])[];
  readonly parameters: readonly Parameter[];
  readonly collectives: { readonly forward: number; readonly backward: number };
}

/** Forward and backward of something made of a transformer layer's parts, on a group. */
function runLayer(
  engine: Engine,
  group: Communicator,
  forward: (layer: TransformerLayer, x: Tensor) => Tensor,
  used: (layer: TransformerLayer) => readonly Parameter[] = () => [],
): Outcome {
  using parameters = new Parameters();
  const layer = new TransformerLayer(parameters, config, 1, group);
  parameters.allocate(engine);
  parameters.initialize(77);
  for (const parameter of parameters.all) {
    // biases that are zero could not be seen, nor could a bias that is added on every rank
    if (!parameter.spec.decay) parameter.stored.data.set(partOf(parameter, numbers(specOf(parameter))));
  }
  const x = leaf(engine, numbers({ shape, key: 3 }), shape);
  using tape = new Tape(engine);
  const start = group.statistics.calls;
  const y = forward(layer, x);
  const output = y.toArray();
  const middle = group.statistics.calls;
  const loss = weightedSum(y, drawn(engine, { shape, key: 4 }));
  const value = loss.item();
  tape.backward(loss);
  const list = used(layer);
  const compared = list.length > 0 ? list : parameters.all;
  return {
    ...{ loss: value, output, dX: x.grad?.toArray() ?? [] },
    gradients: compared.map(gradientOf),
    parameters: compared,
    collectives: { forward: middle - start, backward: group.statistics.calls - middle },
  };
}

const specOf = ({ spec }: Parameter) => ({ shape: spec.globalShape, key: spec.name.length, offset: 0.5, scale: 0.5 });

function compareOutcomes(name: string, world: Communicator, found: Outcome, expected: Outcome): Differences {
  const gradients = found.parameters.map((parameter, i) =>
    difference(found.gradients[i] ?? [], partOf(parameter, expected.gradients[i] ?? [])),
  );
  const { forward, backward } = found.collectives;
  const wanted = world.size > 1 ? (name === 'transformer layer' ? 2 : 1) : 0;
  return {
    [`${name}: loss`]: difference([found.loss], [expected.loss]),
    [`${name}: output`]: difference(found.output, expected.output),
    [`${name}: input gradient`]: difference(found.dX, expected.dX),
    [`${name}: weight gradients`]: Math.max(...gradients),
    // the paper's Figure 4: two all-reduces forward, two backward
    [`${name}: all-reduces`]: Math.abs(forward - wanted) + Math.abs(backward - wanted),
  };
}

/** Megatron's ParallelSelfAttention: QKV, attention with dropout, projection. */
function selfAttention(world: Communicator, engine: Engine): Differences {
  const run = (group: Communicator): Outcome =>
    runLayer(
      engine,
      group,
      ({ queryKeyValue, projection }, x) => {
        const own = heads / group.size;
        const mixed = queryKeyValue.forward(x); // [b, s, n/t, 3, d]
        const context = attention(mixed, { heads: own, headOffset: group.rank * own, dropout }); // [b, s, h/t]
        return projection.forward(context);
      },
      ({ queryKeyValue, projection }) => [queryKeyValue, projection].flatMap(({ weight, bias }) => [weight, bias]),
    );
  return compareOutcomes('self-attention', world, run(world), run(selfCommunicator()));
}

function transformerLayer(world: Communicator, engine: Engine): Differences {
  const run = (group: Communicator): Outcome => runLayer(engine, group, (layer, x) => layer.forward(x, state));
  return compareOutcomes('transformer layer', world, run(world), run(selfCommunicator()));
}

/** Initial weights, losses and the gradient's norm of a GPT. */
function wholeModel(world: Communicator, engine: Engine): Differences {
  const small = tinyConfig({ hiddenSize: 24, numAttentionHeads: heads });
  const make = (group: Communicator): GptModel => {
    const model = new GptModel(small, group);
    model.parameters.allocate(engine);
    model.parameters.initialize(99);
    return model;
  };
  const [serial, split] = [make(selfCommunicator()), make(world)];
  using _serial = serial.parameters;
  using _split = split.parameters;
  const wholeOf = new Map(serial.parameters.all.map((parameter) => [parameter.name, parameter]));
  const strange = split.parameters.all.map((parameter) =>
    unequal(parameter.stored.data, partOf(parameter, wholeOf.get(parameter.name)?.stored.data ?? [])),
  );

  // gradients whose squares sum to something known, on the replicated and on the split parameters
  for (const { parameters } of [serial, split]) {
    for (const parameter of parameters.all) {
      const { name, spec } = parameter;
      const values = numbers({ shape: spec.globalShape, key: name.length * 31 });
      parameter.value.grad?.data.set(partOf(parameter, values));
    }
  }
  const norm = gradientNorm(split.parameters, world);
  let squares = 0;
  for (const { name, spec } of serial.parameters.all) {
    for (const value of numbers({ shape: spec.globalShape, key: name.length * 31 })) squares += value ** 2;
  }

  const ids = (key: number): Tensor =>
    Tensor.from(engine, integers(2 * sequence, key, small.vocabSize), [2, sequence], { dtype: 'i32' });
  const positions = Tensor.from(
    engine,
    Array.from({ length: 2 * sequence }, (_, i) => i % sequence),
    [2, sequence],
    {
      dtype: 'i32',
    },
  );
  const [tokens, labels] = [ids(5), ids(6)];
  const losses = (model: GptModel): number[] => model.tokenLosses(tokens, positions, labels, state).toArray();
  const logits = (model: GptModel): number[] =>
    model
      .logits(model.hidden(tokens, positions, { ...state, training: false }))
      .toArray()
      .filter((_, i, { length }) => i % (length / (2 * sequence)) < small.vocabSize);
  return {
    'initial weights of a GPT': strange.reduce((sum, count) => sum + count, 0),
    'gradient norm': difference([norm], [Math.sqrt(squares)]),
    'gradient norm: ranks that differ': world.exchange(String(norm)).filter((text) => text !== String(norm)).length,
    'losses of a GPT': difference(losses(split), losses(serial)),
    'logits of a GPT': difference(logits(split), logits(serial)),
  };
}
