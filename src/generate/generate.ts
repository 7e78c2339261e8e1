/** Generation: a model goes on from a prompt, one token at a time, each position computed once. */

import { UsageError } from '../base/errors.ts';
import type { GptModel } from '../model/gpt.ts';
import type { KeyValueCache } from '../model/key-value-cache.ts';
import { expectIds } from '../ops/embedding/op.ts';
import { Tensor } from '../tensor/tensor.ts';
import { chooseToken, type SamplingOptions, uniformAt } from './sampling.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to write. */
  readonly tokensToGenerate: number;
  readonly seed: number;
  /** Number of this text among those of one prompt; each has draws of its own. Default 0. */
  readonly sample?: number;
  /** Writing ends after this token, which is not yielded. */
  readonly endOfDocument?: number | undefined;
}

/**
 * Yields token ids as they are chosen. Ends early at the end of a document, or where the model's positions end.
 *
 * @param prompt at least one id
 * @throws UsageError when the prompt is empty, longer than the model's positions or holds an id outside the vocabulary;
 *   MegatronError when the model's logits are no numbers.
 */
export function* generateTokens(
  model: GptModel,
  prompt: ArrayLike<number>,
  options: GenerateOptions,
): Generator<number> {
  const { maxPositionEmbeddings, vocabSize } = model.config;
  if (prompt.length === 0) throw new UsageError('generation needs a prompt of at least one token');
  if (prompt.length > maxPositionEmbeddings) {
    throw new UsageError(`the prompt has ${prompt.length} tokens, the model ${maxPositionEmbeddings} positions`, {
      remedy: 'Shorten the prompt.',
    });
  }
  const strange = Array.from(prompt).find((id) => !(id >= 0 && id < vocabSize));
  if (strange !== undefined) {
    throw new UsageError(`the prompt has the id ${strange}, the model a vocabulary of ${vocabSize}`, {
      remedy: 'Use the tokenizer that the model was trained with.',
    });
  }
  const length = Math.min(maxPositionEmbeddings, prompt.length + options.tokensToGenerate);
  using cache = model.newCache(1, length);
  let pending: ArrayLike<number> = prompt;
  for (let written = 0; written < options.tokensToGenerate; written++) {
    if (cache.length + pending.length > length) return;
    const logits = lastLogits(model, pending, cache); // [vocabSize]
    const id = chooseToken(
      logits.subarray(0, vocabSize),
      options,
      uniformAt(options.seed, options.sample ?? 0, cache.length),
    );
    if (id === options.endOfDocument) return;
    yield id;
    pending = [id];
  }
}

/** Runs the model over new positions, and returns the logits of the last one, [padded v]. */
function lastLogits(model: GptModel, ids: ArrayLike<number>, cache: KeyValueCache): Float32Array {
  const { engine } = model.output.weight.value;
  return engine.withoutRecording(() =>
    engine.scope(() => {
      const count = ids.length;
      if (engine.backend.device) expectIds(ids, model.config.vocabSize); // the operator cannot see them
      const tokens = Tensor.from(engine, ids, [1, count], { dtype: 'i32' });
      const places = Array.from({ length: count }, (_, i) => cache.length + i);
      const positions = Tensor.from(engine, places, [1, count], { dtype: 'i32' });
      const hidden = model.hidden(tokens, positions, { training: false, firstSample: 0, cache }); // [1, count, h]
      cache.advance(count);
      const width = model.config.hiddenSize;
      const last = hidden.view([1, 1, width], (count - 1) * width);
      return Float32Array.from(model.logits(last).toArray());
    }),
  );
}
