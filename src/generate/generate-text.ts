/** `megatron generate`: from a checkpoint and a prompt to text, on every rank of a tensor group alike; rank 0 speaks. */

import { UsageError } from '../base/errors.ts';
import { type Checkpoint, openCheckpoint } from '../checkpoint/index.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';
import type { GenerateConfig } from '../config/generate.ts';
import { tokenizerSource } from '../config/shared-flags.ts';
import { createTokenizer } from '../data/tokenizers/create-tokenizer.ts';
import type { Tokenizer } from '../data/tokenizers/tokenizer.ts';
import type { GptConfig } from '../model/config.ts';
import { GptModel } from '../model/gpt.ts';
import { agreedValue } from '../parallel/scalars.ts';
import { createEngine } from '../tensor/engines/select.ts';
import { modelOfCheckpoint } from '../train/gpt-architecture.ts';
import { formatOf } from '../train/precision.ts';
import { assertSameTokenizer, tokenizerOfCheckpoint } from '../train/tokenizer-files.ts';
import { loadWeights } from '../train/training-checkpoint.ts';
import { generateTokens } from './generate.ts';

export interface GenerateStreams {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** What the ranks must know of the text; rank 0 alone has the tokenizer. */
interface Task {
  readonly prompt: readonly number[];
  readonly endOfDocument: number | null;
}

/**
 * Writes the samples one after the other, token by token. All ranks choose the same tokens: the logits are gathered, and a
 * draw is a function of seed, sample and position.
 *
 * @param group the ranks that split the model; this rank alone where not given
 * @throws UsageError when the model cannot be split over the group or the prompt does not fit it; CheckpointError.
 */
export async function generateText(
  config: GenerateConfig,
  { stdout, stderr }: GenerateStreams,
  group: Communicator = selfCommunicator(),
): Promise<void> {
  const speaks = group.rank === 0;
  using checkpoint = openCheckpoint(config.load);
  const modelConfig = modelOfCheckpoint(checkpoint);
  expectSplittable(modelConfig, group.size);
  const tokenizer = speaks ? openTokenizer(config, checkpoint) : undefined;
  const { prompt, endOfDocument } = agreedValue(group, 0, tokenizer ? taskOf(config, tokenizer) : emptyTask);

  const { device, numThreads: threads } = config;
  const notify = (message: string): void => void (speaks && stderr.write(`${message}\n`));
  using engine = await createEngine({ device, threads, notify });
  const model = new GptModel(modelConfig, group);
  using parameters = model.parameters;
  parameters.allocate(engine, { ...formatOf(config), gradients: false });
  loadWeights(checkpoint, parameters);

  const { maxPositionEmbeddings: positions } = model.config;
  for (let sample = 0; sample < config.numSamples; sample++) {
    const ids = generateTokens(model, prompt, { ...config, sample, endOfDocument: endOfDocument ?? undefined });
    if (!tokenizer) {
      for (const _id of ids); // the tokens are the same everywhere, and rank 0 writes them
      continue;
    }
    if (config.numSamples > 1)
      stdout.write(`${sample > 0 ? '\n' : ''}--- sample ${sample + 1} of ${config.numSamples}\n`);
    stdout.write(config.prompt ?? '');
    const count = writeTokens(ids, tokenizer, stdout);
    // the last token needs no position: nothing follows it
    if (prompt.length + count > positions && count < config.tokensToGenerate) {
      notify(`stopped after ${count} tokens: the model has ${positions} positions`);
    }
  }
}

/** @returns the number of tokens written */
function writeTokens(ids: Iterable<number>, tokenizer: Tokenizer, stdout: GenerateStreams['stdout']): number {
  // a token may end inside a character, so the bytes are decoded as a stream
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let count = 0;
  for (const id of ids) {
    stdout.write(decoder.decode(tokenizer.decodeBytes(id), { stream: true }));
    count++;
  }
  stdout.write(`${decoder.decode()}\n`);
  return count;
}

/** @throws UsageError naming the group sizes that work. */
function expectSplittable({ numAttentionHeads: heads, ffnHiddenSize }: GptConfig, ranks: number): void {
  const splits = (size: number): boolean => heads % size === 0 && ffnHiddenSize % size === 0;
  if (splits(ranks)) return;
  const sizes = Array.from({ length: heads }, (_, i) => i + 1).filter(splits);
  throw new UsageError(
    `the model of ${heads} attention heads and feed-forward width ${ffnHiddenSize} cannot be split over ${ranks} ranks`,
    { remedy: `--tensor-model-parallel-size can be ${sizes.join(', ')}.` },
  );
}

function openTokenizer(config: GenerateConfig, checkpoint: Checkpoint): Tokenizer {
  const { tokenizerType } = config;
  if (tokenizerType === undefined) return tokenizerOfCheckpoint(checkpoint);
  const tokenizer = createTokenizer(tokenizerSource({ ...config, tokenizerType }));
  assertSameTokenizer(checkpoint, tokenizer);
  return tokenizer;
}

const emptyTask: Task = { prompt: [], endOfDocument: null };

function taskOf({ prompt }: GenerateConfig, tokenizer: Tokenizer): Task {
  const { endOfDocument } = tokenizer;
  if (prompt) return { prompt: [...tokenizer.encode(prompt)], endOfDocument: endOfDocument ?? null };
  if (endOfDocument === undefined) {
    throw new UsageError('this tokenizer has no end-of-document token to begin with', { remedy: 'Give a --prompt.' });
  }
  return { prompt: [endOfDocument], endOfDocument };
}
