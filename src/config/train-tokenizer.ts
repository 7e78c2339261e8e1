/** `megatron train-tokenizer`: its options. */

import { z } from 'zod';
import { defineCommand } from './command.ts';
import { flag } from './flag.ts';
import { refuseDuplicateKeys, textInputFlags } from './preprocess.ts';
import { countSchema, debugFlag, pathSchema } from './shared-flags.ts';

const schema = z.object({
  ...textInputFlags,
  vocabSize: flag(z.int().min(257).default(50_257), {
    group: 'Tokenizer',
    help: 'tokens of the vocabulary: 256 bytes, merges, and the end-of-document token; fewer where the text runs out of pairs',
  }),
  minFrequency: flag(countSchema.default(2), {
    group: 'Tokenizer',
    help: 'least number of times that two tokens must meet to be merged',
  }),
  output: flag(pathSchema, {
    group: 'Output',
    value: 'DIR',
    help: 'folder for tokenizer.json, vocab.json and merges.txt',
  }),
  debug: debugFlag,
});

export type TrainTokenizerConfig = Readonly<z.output<typeof schema>>;

export const trainTokenizerCommand = defineCommand({
  name: 'train-tokenizer',
  summary: 'learn a byte-level BPE vocabulary from text',
  examples: ['train-tokenizer --input news.jsonl --vocab-size 16384 --output tokenizer'],
  schema,
  resolve(options): TrainTokenizerConfig {
    refuseDuplicateKeys(options.jsonKeys);
    return options;
  },
});
