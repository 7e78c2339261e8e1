/** `megatron generate`: its options. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { flagName } from '../base/flag-name.ts';
import { tokenizerTypes } from '../data/tokenizers/tokenizer.ts';
import { defineCommand, type Given } from './command.ts';
import { flag } from './flag.ts';
import { checkFormat, formatFlags } from './precision.ts';
import {
  countSchema,
  debugFlag,
  engineFlags,
  pathSchema,
  seedFlag,
  threadsOrAll,
  tokenizerFlags,
  tokenizerSource,
} from './shared-flags.ts';

const schema = z.object({
  load: flag(pathSchema, { group: 'Generation', value: 'DIR', help: 'folder whose latest checkpoint is to write' }),
  prompt: flag(z.string().optional(), {
    group: 'Generation',
    value: 'TEXT',
    help: 'text to go on from',
    default: 'the start of a new document',
  }),
  tokensToGenerate: flag(countSchema.default(64), { group: 'Generation', help: 'tokens to write at most' }),
  numSamples: flag(countSchema.default(1), { group: 'Generation', help: 'texts to write, one after the other' }),
  greedy: flag(z.boolean().default(false), {
    group: 'Generation',
    help: 'always take the likeliest token, instead of drawing one',
  }),
  temperature: flag(z.number().positive().default(1), {
    group: 'Generation',
    value: 'X',
    help: 'divides the logits; below 1 the likely tokens become likelier',
  }),
  topK: flag(z.int().min(0).default(0), {
    group: 'Generation',
    help: 'draw from this many likeliest tokens only; 0 for all',
  }),
  topP: flag(z.number().min(0).max(1).default(0), {
    group: 'Generation',
    value: 'P',
    help: 'draw from the likeliest tokens that together reach this probability; 0 for all',
  }),
  ...formatFlags,
  tensorModelParallelSize: flag(countSchema.default(1), {
    group: 'Parallelism',
    help: 'ranks that share every layer of the model: threads of one process, or under mpirun or srun its processes',
  }),
  debugCollectives: flag(z.boolean().default(false), {
    group: 'Parallelism',
    help: 'check that all ranks agree on every collective; slower',
  }),
  tokenizerType: flag(z.enum(tokenizerTypes).optional(), {
    group: 'Tokenizer',
    value: 'TYPE',
    help: 'kind of tokenizer',
    default: "the checkpoint's",
  }),
  vocabFile: tokenizerFlags.vocabFile,
  mergeFile: tokenizerFlags.mergeFile,
  tokenizerModel: tokenizerFlags.tokenizerModel,
  seed: seedFlag,
  ...engineFlags,
  debug: debugFlag,
});

type Options = z.output<typeof schema>;

/** `tokenizerType` is undefined where the checkpoint's own tokenizer is to be used. */
export type GenerateConfig = Readonly<Omit<Options, 'numThreads'> & { numThreads: number }>;

export const generateCommand = defineCommand({
  name: 'generate',
  summary: 'let a trained model write',
  examples: [
    'generate --load checkpoints --prompt "Once upon a time" --top-p 0.9',
    'generate --load checkpoints --prompt "Once upon a time" --tensor-model-parallel-size 2',
  ],
  schema,
  resolve(options: Options, given: Given): GenerateConfig {
    if (options.greedy) {
      const idle = ['temperature', 'topK', 'topP'].find((key) => given.has(key));
      if (idle !== undefined) {
        throw new UsageError(`--greedy and --${flagName(idle)} contradict each other`, {
          remedy: 'Keep one of the two.',
        });
      }
    }
    checkFormat(options);
    const { tokenizerType } = options;
    const file = ['vocabFile', 'mergeFile', 'tokenizerModel'].find((key) => given.has(key));
    if (tokenizerType !== undefined) tokenizerSource({ ...options, tokenizerType });
    else if (file !== undefined) {
      throw new UsageError(`--${flagName(file)} needs --tokenizer-type`, {
        remedy: "Add --tokenizer-type TYPE, or leave both out to use the checkpoint's tokenizer.",
      });
    }
    const share = Math.max(1, Math.floor(threadsOrAll(undefined) / options.tensorModelParallelSize));
    return { ...options, numThreads: options.numThreads ?? share };
  },
});
