/** Generation with its cache is the model itself, and ends where it must. */

import { expect, it } from 'vitest';
import { UsageError } from '../src/base/errors.ts';
import { type GenerateOptions, generateTokens } from '../src/generate/generate.ts';
import type { GptModel } from '../src/model/gpt.ts';
import type { KeyValueCache } from '../src/model/key-value-cache.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { expectClose } from './support/closeness.ts';
import { describeOnEngines } from './support/engines.ts';
import { integers } from './support/numbers.ts';
import { tinyModel } from './support/tiny-gpt.ts';

const positionsOfModel = 40;
const prompt = integers(7, 5, 66);

describeOnEngines(
  'generation',
  (engine) => {
    /** Runs `body` with a model whose logits are far apart. */
    function withModel<Result>(body: (model: GptModel) => Result): Result {
      const model = tinyModel(engine(), { initMethodStd: 0.3 });
      using _parameters = model.parameters;
      return body(model);
    }

    const generate = (model: GptModel, ids: readonly number[], options: Partial<GenerateOptions> = {}): number[] => [
      ...generateTokens(model, ids, { tokensToGenerate: 12, seed: 1, ...options }),
    ];

    /** Logits of every position, [count, padded v], of a pass over all ids at once. */
    function logitsOf(model: GptModel, ids: readonly number[], cache?: KeyValueCache): Float32Array {
      return engine().scope(() => {
        const first = cache?.length ?? 0;
        const row = (values: readonly number[]): Tensor =>
          Tensor.from(engine(), values, [1, values.length], { dtype: 'i32' });
        const positions = row(ids.map((_, i) => first + i));
        const hidden = model.hidden(row(ids), positions, { training: false, firstSample: 0, cache });
        cache?.advance(ids.length);
        return Float32Array.from(model.logits(hidden).read());
      });
    }

    it('has the logits of a pass without a cache, however the text is cut', () => {
      withModel((model) => {
        const text = integers(positionsOfModel, 11, 66);
        const whole = logitsOf(model, text);
        using cache = model.newCache(1, positionsOfModel);
        const pieces: number[] = [];
        for (let start = 0, length = 7; start < text.length; start += length, length = 1 + ((length * 5) % 8)) {
          pieces.push(...logitsOf(model, text.slice(start, start + length), cache));
        }
        expect(cache.length).toBe(positionsOfModel);
        expectClose(pieces, whole, 1e-5, 'logits');
      });
    });

    it('writes what recomputing everything at each token would write', () => {
      withModel((model) => {
        const text = [...prompt];
        for (let i = 0; i < 20; i++) {
          const last = logitsOf(model, text).slice(-80).subarray(0, 67);
          text.push(last.indexOf(Math.max(...last)));
        }
        const written = generate(model, prompt, { tokensToGenerate: 20, greedy: true });
        expect(written).toEqual(text.slice(prompt.length));
        expect(new Set(written).size).toBeGreaterThan(3);
        expect(generate(model, prompt, { tokensToGenerate: 20, topK: 1 })).toEqual(written);
      });
    });

    it('writes the same for the same seed, and another text for another seed or sample', () => {
      withModel((model) => {
        const text = generate(model, prompt, { seed: 9, temperature: 2 });
        expect(generate(model, prompt, { seed: 9, temperature: 2 })).toEqual(text);
        expect(generate(model, prompt, { seed: 10, temperature: 2 })).not.toEqual(text);
        expect(generate(model, prompt, { seed: 9, temperature: 2, sample: 1 })).not.toEqual(text);
        // the draw of a position is its own: a longer text begins with the shorter one
        expect(generate(model, prompt, { seed: 9, temperature: 2, tokensToGenerate: 5 })).toEqual(text.slice(0, 5));
      });
    });

    it('never writes a token of the padding of the vocabulary', () => {
      withModel((model) => {
        // logits of the padding are 0: likelier than any other where all others are negative
        const texts = Array.from({ length: 20 }, (_, sample) => generate(model, prompt, { sample, temperature: 1e6 }));
        expect(Math.max(...texts.flat())).toBeLessThan(67);
        expect(Math.max(...texts.flat())).toBeGreaterThan(50);
      });
    });

    it('ends before the end of a document', () => {
      withModel((model) => {
        const text = generate(model, prompt, { greedy: true });
        const endOfDocument = text[4] as number;
        const end = text.indexOf(endOfDocument);
        expect(generate(model, prompt, { greedy: true, endOfDocument })).toEqual(text.slice(0, end));
      });
    });

    it('ends with the positions of the model; the last token needs none', () => {
      withModel((model) => {
        const text = (length: number): number[] => integers(length, 3, 66);
        expect(generate(model, text(positionsOfModel))).toHaveLength(1);
        expect(generate(model, text(positionsOfModel - 3))).toHaveLength(4);
        expect(generate(model, text(positionsOfModel - 11))).toHaveLength(12);
      });
    });

    it('refuses a prompt that the model cannot read', () => {
      withModel((model) => {
        expect(() => generate(model, [])).toThrow(UsageError);
        expect(() => generate(model, integers(positionsOfModel + 1, 3, 66))).toThrow(
          /41 tokens, the model 40 positions/,
        );
        for (const id of [67, 79, -1]) expect(() => generate(model, [1, id])).toThrow(`the prompt has the id ${id}`);
      });
    });

    it('gives its memory back, also when nobody reads on', () => {
      withModel((model) => {
        const before = engine().memory.count().current;
        generate(model, prompt);
        expect(engine().memory.count().current).toBe(before);
        for (const _id of generateTokens(model, prompt, { tokensToGenerate: 12, seed: 1 })) break;
        expect(engine().memory.count().current).toBe(before);
        const inScope = engine().scope(() => [...generateTokens(model, prompt, { tokensToGenerate: 12, seed: 1 })]);
        expect(inScope).toEqual(generate(model, prompt));
        expect(engine().memory.count().current).toBe(before);
      });
    });
  },
  { emulated: false },
);
