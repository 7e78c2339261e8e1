import { describe, expect, it } from 'vitest';
import { differenceOf, expectClose } from '../../test/support/closeness.ts';
import { describeOnEngines } from '../../test/support/engines.ts';
import { integers } from '../../test/support/numbers.ts';
import { UsageError } from '../base/errors.ts';
import { Tensor } from '../tensor/tensor.ts';
import { type GptConfig, gptConfig } from './config.ts';
import { GptModel } from './gpt.ts';

const small = (options: Partial<GptConfig> = {}): GptConfig =>
  gptConfig({
    ...{ numLayers: 2, hiddenSize: 32, numAttentionHeads: 4, maxPositionEmbeddings: 12, vocabSize: 50 },
    makeVocabSizeDivisibleBy: 16,
    ...options,
  });

describe('a GPT model', () => {
  it('has 12Lh² + 13Lh + (V + s)h + 2h parameters, padding not counted', () => {
    for (const [numLayers, hiddenSize, vocabSize, maxPositionEmbeddings] of [
      [2, 32, 50, 12],
      [12, 768, 50_257, 1024],
      [24, 1024, 50_257, 1024],
    ] as const) {
      const config = small({ numLayers, hiddenSize, vocabSize, maxPositionEmbeddings });
      const { count } = new GptModel(config).parameters;
      const h = hiddenSize;
      expect(count).toBe(12 * numLayers * h * h + 13 * numLayers * h + (vocabSize + maxPositionEmbeddings) * h + 2 * h);
    }
    // GPT-2 small and medium, as everyone counts them
    const sizes = { maxPositionEmbeddings: 1024, vocabSize: 50_257 };
    expect(new GptModel(small({ ...sizes, numLayers: 12, hiddenSize: 768 })).parameters.count).toBe(124_439_808);
    expect(new GptModel(small({ ...sizes, numLayers: 24, hiddenSize: 1024 })).parameters.count).toBe(354_823_168);
  });

  it('decays all but biases and layer norms', () => {
    const { all } = new GptModel(small()).parameters;
    const undecayed = all.filter(({ spec }) => !spec.decay).map(({ name }) => name);
    expect(undecayed).toEqual(all.map(({ name }) => name).filter((name) => /\.bias$|layernorm\.weight$/.test(name)));
    expect(undecayed).toHaveLength(2 * 8 + 2);
    expect(all).toHaveLength(2 + 2 * 12 + 2);
  });

  it('starts from N(0, 0.02), scaled by 1/√(2L) before residual additions, zero biases and unit layer norms', () => {
    const { all } = new GptModel(small({ numLayers: 8 })).parameters;
    for (const { name, spec } of all) {
      const expected = /layernorm\.weight$/.test(name)
        ? { kind: 'constant', value: 1 }
        : name.endsWith('.bias')
          ? { kind: 'constant', value: 0 }
          : { kind: 'normal', deviation: /linear_proj|linear_fc2/.test(name) ? 0.02 / Math.sqrt(16) : 0.02 };
      expect(spec.initial, name).toEqual(expected);
    }
  });

  it('may have a matrix of its own for the logits', () => {
    const tied = new GptModel(small()).parameters;
    const own = new GptModel(small({ tiedEmbeddings: false })).parameters;
    expect(own.count - tied.count).toBe(50 * 32);
    expect(own.all.at(-1)?.name).toBe('output_layer.weight');
  });

  it('refuses heads that do not share the width', () => {
    expect(() => small({ numAttentionHeads: 5 })).toThrow(UsageError);
  });
});

describeOnEngines('a GPT model', (engine) => {
  const ids = integers(24, 1, 50);
  const next = integers(24, 2, 50);

  /** Losses [2, 12] of `labels` after `tokens`, by a model with its initial values. */
  function losses(
    options: Partial<GptConfig>,
    training: boolean,
    firstSample = 0,
    tokens = ids,
    labels = next,
  ): number[] {
    const model = new GptModel(small(options));
    using parameters = model.parameters;
    parameters.allocate(engine());
    parameters.initialize(7);
    return engine().scope(() => {
      const row = (values: readonly number[]): Tensor => Tensor.from(engine(), values, [2, 12], { dtype: 'i32' });
      const positions = row(ids.map((_, i) => i % 12));
      return model.tokenLosses(row(tokens), positions, row(labels), { training, firstSample }).toArray();
    });
  }

  it('knows nothing at first: its loss is about ln V', () => {
    const all = losses({}, false);
    const mean = all.reduce((sum, loss) => sum + loss, 0) / all.length;
    // logits have a deviation of 0.02·√32 = 0.11, so the mean of 24 losses is off by some hundredths
    expect(Math.abs(mean - Math.log(50))).toBeLessThan(0.1);
  });

  it('does not depend on the padding of the vocabulary', () => {
    const all = losses({}, true);
    for (const makeVocabSizeDivisibleBy of [1, 50, 128]) {
      expectClose(losses({ makeVocabSizeDivisibleBy }, true), all, 1e-6);
    }
  });

  it('sees no token that comes later', () => {
    const all = losses({ initMethodStd: 0.3 }, false);
    const changed = losses({ initMethodStd: 0.3 }, false, 0, ids.with(9, (ids[9] ?? 0) === 3 ? 4 : 3));
    expect(changed.slice(0, 9)).toEqual(all.slice(0, 9));
    expect(differenceOf(changed.slice(9, 12), all.slice(9, 12)).relative).toBeGreaterThan(1e-3);
    expect(changed.slice(12)).toEqual(all.slice(12));
  });

  it.each([
    ['attention', { attentionDropout: 0.5, hiddenDropout: 0 }],
    ['embeddings and residual additions', { attentionDropout: 0, hiddenDropout: 0.5 }],
  ])('drops out of %s in training alone, by the number of the sample', (_what, dropout) => {
    const off = { attentionDropout: 0, hiddenDropout: 0 };
    const options = { initMethodStd: 0.3 };
    expect(losses({ ...options, ...dropout }, false)).toEqual(losses({ ...options, ...off }, true));
    const dropped = losses({ ...options, ...dropout }, true);
    expect(losses({ ...options, ...dropout }, true)).toEqual(dropped);
    expect(differenceOf(dropped, losses({ ...options, ...off }, true)).relative).toBeGreaterThan(1e-3);
    expect(differenceOf(dropped, losses({ ...options, ...dropout, seed: 5 }, true)).relative).toBeGreaterThan(1e-3);
    // with the rows as samples 1 and 2 in the other order, sample 1 is the same row as before; sums may run in another order
    const swap = (row: readonly number[]): number[] => [...row.slice(12), ...row.slice(0, 12)];
    const later = losses({ ...options, ...dropout }, true, 1, swap(ids), swap(next));
    expect(differenceOf(later.slice(0, 12), dropped.slice(12)).relative).toBeLessThan(1e-6);
    expect(differenceOf(later.slice(12), dropped.slice(0, 12)).relative).toBeGreaterThan(1e-3);
  });
});
