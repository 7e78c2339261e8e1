/** `megatron generate`: a trained model writes, token by token. */

import { UsageError } from '../../base/errors.ts';
import { type Checkpoint, openCheckpoint } from '../../checkpoint/index.ts';
import type { GenerateConfig } from '../../config/generate.ts';
import { tokenizerSource } from '../../config/shared-flags.ts';
import { createTokenizer } from '../../data/tokenizers/create-tokenizer.ts';
import type { Tokenizer } from '../../data/tokenizers/tokenizer.ts';
import { generateTokens } from '../../generate/generate.ts';
import { GptModel } from '../../model/gpt.ts';
import { createEngine } from '../../tensor/engines/select.ts';
import { modelOfCheckpoint } from '../../train/gpt-architecture.ts';
import { assertSameTokenizer, tokenizerOfCheckpoint } from '../../train/tokenizer-files.ts';
import { loadWeights } from '../../train/training-checkpoint.ts';
import type { CommandContext } from '../command-module.ts';

export async function run(config: GenerateConfig, { stdout, stderr }: CommandContext): Promise<undefined> {
  using checkpoint = openCheckpoint(config.load);
  const tokenizer = openTokenizer(config, checkpoint);
  const { device, numThreads: threads } = config;
  using engine = await createEngine({ device, threads, notify: (message) => stderr.write(`${message}\n`) });
  const model = new GptModel(modelOfCheckpoint(checkpoint));
  using parameters = model.parameters;
  parameters.allocate(engine, { gradients: false });
  loadWeights(checkpoint, parameters);

  const prompt = promptIds(config, tokenizer);
  for (let sample = 0; sample < config.numSamples; sample++) {
    if (config.numSamples > 1)
      stdout.write(`${sample > 0 ? '\n' : ''}--- sample ${sample + 1} of ${config.numSamples}\n`);
    stdout.write(config.prompt ?? '');
    // a token may end inside a character, so the bytes are decoded as a stream
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    const options = { ...config, sample, endOfDocument: tokenizer.endOfDocument };
    let count = 0;
    for (const id of generateTokens(model, prompt, options)) {
      stdout.write(decoder.decode(tokenizer.decodeBytes(id), { stream: true }));
      count++;
    }
    stdout.write(`${decoder.decode()}\n`);
    // the last token needs no position: nothing follows it
    if (prompt.length + count > model.config.maxPositionEmbeddings && count < config.tokensToGenerate) {
      stderr.write(`stopped after ${count} tokens: the model has ${model.config.maxPositionEmbeddings} positions\n`);
    }
  }
}

function openTokenizer(config: GenerateConfig, checkpoint: Checkpoint): Tokenizer {
  const { tokenizerType } = config;
  if (tokenizerType === undefined) return tokenizerOfCheckpoint(checkpoint);
  const tokenizer = createTokenizer(tokenizerSource({ ...config, tokenizerType }));
  assertSameTokenizer(checkpoint, tokenizer);
  return tokenizer;
}

function promptIds(config: GenerateConfig, tokenizer: Tokenizer): Int32Array {
  if (config.prompt) return tokenizer.encode(config.prompt);
  if (tokenizer.endOfDocument === undefined) {
    throw new UsageError('this tokenizer has no end-of-document token to begin with', { remedy: 'Give a --prompt.' });
  }
  return Int32Array.of(tokenizer.endOfDocument);
}
