import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gptConfig } from '../src/model/config.ts';
import { GptModel } from '../src/model/gpt.ts';
import type { ForwardState } from '../src/model/transformer-layer.ts';
import { add } from '../src/ops/add/op.ts';
import { attention } from '../src/ops/attention/op.ts';
import { gelu } from '../src/ops/gelu/op.ts';
import { matmul } from '../src/ops/matmul/op.ts';
import { softmax } from '../src/ops/softmax/op.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { describeOnEngines } from './support/engines.ts';
import { decodeFloats } from './support/numbers.ts';
import { sharedData } from './support/shared-data.ts';

/** A trained GPT-2-style model that sorts letters, with what it computed for one batch: its first layer in every detail. */
const data = sharedData('llm-viz-gpt-nano');

interface Stored {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

function load(file: string): ReadonlyMap<string, Stored> {
  const text = readFileSync(join(data.path, file), 'utf8');
  const content = JSON.parse(text) as Record<string, { shape?: number[]; data?: string }>;
  return new Map(
    Object.entries(content).flatMap(([name, { shape, data: figures }]) =>
      shape && figures !== undefined ? [[name, { shape, values: decodeFloats(figures) }]] : [],
    ),
  );
}

function get(tensors: ReadonlyMap<string, Stored>, name: string): Stored {
  const stored = tensors.get(name);
  if (!stored) throw new Error(`no tensor named ${name}`);
  return stored;
}

const [numLayers, heads, hiddenSize, vocabSize, sequence, batch] = [3, 3, 48, 3, 11, 3];
const width = hiddenSize / heads;

/** Rows laid out [3, n, d] (all queries, all keys, all values) become [n, 3, d], each row `columns` long. */
function interleaved(values: readonly number[], columns: number): number[] {
  return Array.from({ length: 3 * hiddenSize * columns }, (_, i) => {
    const row = Math.floor(i / columns);
    const [head, part, at] = [Math.floor(row / (3 * width)), Math.floor(row / width) % 3, row % width];
    return values[((part * heads + head) * width + at) * columns + (i % columns)] ?? Number.NaN;
  });
}

/** The model's names and layouts, in ours. */
function adapted(weights: ReadonlyMap<string, Stored>): ReadonlyMap<string, readonly number[]> {
  const names: [string, string][] = [
    ['embedding.word_embeddings', 'transformer.wte'],
    ['embedding.position_embeddings', 'transformer.wpe'],
    ['decoder.final_layernorm', 'transformer.ln_f'],
    ['output_layer', 'lm_head'],
  ];
  for (let layer = 0; layer < numLayers; layer++) {
    const [ours, theirs] = [`decoder.layers.${layer}`, `transformer.h.${layer}`];
    names.push(
      [`${ours}.input_layernorm`, `${theirs}.ln_1`],
      [`${ours}.self_attention.linear_qkv`, `${theirs}.attn.c_attn`],
      [`${ours}.self_attention.linear_proj`, `${theirs}.attn.c_proj`],
      [`${ours}.pre_mlp_layernorm`, `${theirs}.ln_2`],
      [`${ours}.mlp.linear_fc1`, `${theirs}.mlp.c_fc`],
      [`${ours}.mlp.linear_fc2`, `${theirs}.mlp.c_proj`],
    );
  }
  const adaptedWeights = new Map<string, readonly number[]>();
  for (const [ours, theirs] of names) {
    for (const part of ['weight', 'bias']) {
      const stored = weights.get(`${theirs}.${part}`);
      if (!stored) continue; // embeddings and the head have no bias
      const columns = part === 'weight' ? hiddenSize : 1;
      const values = ours.endsWith('linear_qkv') ? interleaved(stored.values, columns) : stored.values;
      adaptedWeights.set(`${ours}.${part}`, values);
    }
  }
  return adaptedWeights;
}

function loadModel(engine: Engine): GptModel {
  const config = gptConfig({
    ...{ numLayers, hiddenSize, numAttentionHeads: heads, maxPositionEmbeddings: sequence, vocabSize },
    ...{ gelu: 'tanh', tiedEmbeddings: false, makeVocabSizeDivisibleBy: 1 },
  });
  const model = new GptModel(config);
  model.parameters.allocate(engine, { gradients: false });
  const weights = adapted(load('gpt-nano-sort-model.json'));
  expect(new Set(weights.keys())).toEqual(new Set(model.parameters.all.map(({ name }) => name)));
  for (const { name, stored } of model.parameters.all) stored.write(weights.get(name) ?? []);
  return model;
}

const state: ForwardState = { training: false, firstSample: 0 };
const missing = data.missing;

describe.skipIf(missing)(`gpt-nano${missing ? ` (${missing})` : ''}`, () => {
  const partials = missing ? new Map<string, Stored>() : load('gpt-nano-sort-t0-partials.json');
  const checked = new Set<string>();

  /** Within 1e-5 of what is stored (of its size, where it is above 1: float32 logits of 16 lie 2e-6 apart), or the same infinity. */
  function expectStage(name: string, values: ArrayLike<number>): void {
    checked.add(name);
    const expected = get(partials, name).values;
    expect(values.length, name).toBe(expected.length);
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const [found, wanted] = [values[i] as number, expected[i] as number];
      worst = Math.max(worst, found === wanted ? 0 : Math.abs(found - wanted) / Math.max(1, Math.abs(wanted)));
    }
    expect(worst, `${name}: largest difference`).toBeLessThanOrEqual(1e-5);
  }

  describeOnEngines(
    'gpt-nano',
    (engine) => {
      const inputs = (): { tokens: Tensor; positions: Tensor } => {
        const ids = (values: readonly number[]): Tensor =>
          Tensor.from(engine(), values, [batch, sequence], { dtype: 'i32' });
        const { values } = get(partials, 'idx');
        return { tokens: ids(values), positions: ids(values.map((_, i) => i % sequence)) };
      };

      it('computes the embeddings, every step of the first layer, all layers, logits and probabilities', () => {
        const on = engine();
        on.scope(() => {
          const model = loadModel(on);
          const { tokens, positions } = inputs();
          checked.clear();
          expectStage('idx', tokens.read());
          const words = model.wordEmbeddings.forward(tokens);
          const places = model.positionEmbeddings.forward(positions);
          expectStage('tok_emb', words.read());
          expectStage('pos_emb', places.read().subarray(0, sequence * hiddenSize));
          const x = add(words, places);
          expectStage('x', x.read());

          const [first] = model.layers;
          if (!first) throw new Error('the model has no layers');
          const normed = first.inputLayerNorm.forward(x);
          expectStage('ln1', normed.read());
          const mixed = first.queryKeyValue.forward(normed); // [b, s, n, 3, d]
          const parts = [0, 1, 2].map((part) => headsOf(mixed.read(), part));
          for (const [part, name] of ['q', 'k', 'v'].entries()) expectStage(name, parts[part] ?? []);
          expectStage('qkv', fusedOf(mixed.read()));

          const scores: number[] = [];
          const probabilities: number[] = [];
          for (let head = 0; head < batch * heads; head++) {
            const [q, k] = [0, 1].map((part) =>
              (parts[part] ?? []).slice(head * sequence * width, (head + 1) * sequence * width),
            );
            const masked = maskedScores(on, q ?? [], k ?? []);
            scores.push(...masked.toArray());
            probabilities.push(...softmax(masked).toArray());
          }
          expectStage('att', scores);
          expectStage('attSm', probabilities);

          const context = attention(mixed, { heads });
          expectStage('y', context.read());
          const projected = first.projection.forward(context);
          expectStage('yProj', projected.read());
          const afterAttention = add(x, projected);
          expectStage('attnResid', afterAttention.read());
          const normedAgain = first.preMlpLayerNorm.forward(afterAttention);
          expectStage('ln2', normedAgain.read());
          const wide = first.toFeedForward.forward(normedAgain);
          expectStage('fc', wide.read());
          const activated = gelu(wide, 'tanh');
          expectStage('gelu', activated.read());
          expectStage('gelu', first.toFeedForward.forwardGelu(normedAgain, 'tanh').read());
          const narrow = first.fromFeedForward.forward(activated);
          expectStage('mlp', narrow.read());
          expectStage('mlpResid', add(afterAttention, narrow).read());

          let block = x;
          for (const [index, layer] of model.layers.entries()) {
            block = layer.forward(block, state);
            expectStage(`block${index}`, block.read());
          }
          const hidden = model.hidden(tokens, positions, state);
          expectStage('ln_f', hidden.read());
          const logits = model.logits(hidden);
          expectStage('lm_head', logits.read());
          expectStage('probs', softmax(logits).read());
          expect([...checked].sort(), 'every stored activation was held').toEqual([...partials.keys()].sort());
        });
      });

      it('sorts', () => {
        const on = engine();
        on.scope(() => {
          const model = loadModel(on);
          const letters = [2, 0, 1, 1, 0, 2];
          const sorted: number[] = [];
          while (sorted.length < letters.length) {
            const known = [...letters, ...sorted];
            const ids = (values: readonly number[]): Tensor =>
              Tensor.from(on, values, [1, known.length], { dtype: 'i32' });
            const logits = model
              .logits(model.hidden(ids(known), ids([...known.keys()]), state))
              .toArray()
              .slice(-vocabSize);
            sorted.push(logits.indexOf(Math.max(...logits)));
          }
          expect(sorted).toEqual([0, 0, 1, 1, 2, 2]);
        });
      });
    },
    { emulated: false },
  );
});

/** One part (0 queries, 1 keys, 2 values) of [b, s, n, 3, d], as [b, n, s, d]. */
function headsOf(mixed: ArrayLike<number>, part: number): number[] {
  return Array.from({ length: batch * sequence * hiddenSize }, (_, i) => {
    const [at, position] = [i % width, Math.floor(i / width) % sequence];
    const [head, sample] = [Math.floor(i / (width * sequence)) % heads, Math.floor(i / (width * sequence * heads))];
    return mixed[(((sample * sequence + position) * heads + head) * 3 + part) * width + at] ?? Number.NaN;
  });
}

/** [b, s, n, 3, d] as [b, s, 3, n, d]. */
function fusedOf(mixed: ArrayLike<number>): number[] {
  return Array.from({ length: batch * sequence * 3 * hiddenSize }, (_, i) => {
    const [at, head] = [i % width, Math.floor(i / width) % heads];
    const [part, row] = [Math.floor(i / hiddenSize) % 3, Math.floor(i / (3 * hiddenSize))];
    return mixed[((row * heads + head) * 3 + part) * width + at] ?? Number.NaN;
  });
}

/** q·kᵀ/√d with −∞ above the diagonal, [s, s]. */
function maskedScores(engine: Engine, q: readonly number[], k: readonly number[]): Tensor {
  const queries = Tensor.from(
    engine,
    q.map((value) => value / Math.sqrt(width)),
    [sequence, width],
  );
  const transposed = Array.from(
    { length: k.length },
    (_, i) => k[(i % sequence) * width + Math.floor(i / sequence)] ?? 0,
  );
  const keys = Tensor.from(engine, transposed, [width, sequence]);
  const mask = Array.from({ length: sequence ** 2 }, (_, i) =>
    i % sequence > Math.floor(i / sequence) ? Number.NEGATIVE_INFINITY : 0,
  );
  return add(matmul(queries, keys), Tensor.from(engine, mask, [sequence, sequence]));
}
