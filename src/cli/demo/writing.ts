/** The trained model writes: a few prompts, token by token. */

import { setImmediate } from 'node:timers/promises';
import type { Tokenizer } from '../../data/index.ts';
import { generateTokens } from '../../generate/generate.ts';
import type { GptModel } from '../../model/gpt.ts';

/** Beginnings that the text of this machine has many of. They end where a token ends in running text: before a space or a line break. */
export const prompts = ['export interface', 'export declare function', '/**\n * Returns'];

export const sampling = { temperature: 0.7, topP: 0.9, tokensToGenerate: 80 };

/** A prompt and what the model made of it. */
export type Sample = { readonly prompt: string; readonly continuation: string };

/** @param write gets the prompt and then every piece of text as it is chosen */
export async function writeSample(
  model: GptModel,
  tokenizer: Tokenizer,
  prompt: string,
  options: {
    readonly seed: number;
    readonly sample: number;
    readonly signal: AbortSignal;
    readonly write: (text: string) => void;
  },
): Promise<Sample> {
  const { seed, sample, signal, write } = options;
  write(prompt);
  // A token may end inside a character, so the bytes are decoded as a stream.
  const decoder = new TextDecoder();
  let continuation = '';
  const put = (text: string): void => {
    continuation += text;
    write(text);
  };
  const ids = tokenizer.encode(prompt);
  const settings = { ...sampling, seed, sample, endOfDocument: tokenizer.endOfDocument };
  for (const id of generateTokens(model, ids, settings)) {
    put(decoder.decode(tokenizer.decodeBytes(id), { stream: true }));
    await setImmediate();
    signal.throwIfAborted();
  }
  put(decoder.decode());
  return { prompt, continuation };
}
