/** `megatron preprocess`: its options. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { defineCommand } from './command.ts';
import { flag } from './flag.ts';
import { countSchema, debugFlag, pathSchema, threadsOrAll, tokenizerFlags, tokenizerSource } from './shared-flags.ts';

/** Where text comes from; also for training a tokenizer. */
export const textInputFlags = {
  input: flag(z.array(pathSchema).min(1).readonly(), {
    group: 'Data',
    value: 'FILE',
    help: 'JSON lines (.jsonl, .json) or plain text (.txt), one document a line or a file',
  }),
  jsonKeys: flag(z.array(z.string().min(1)).min(1).readonly().default(['text']), {
    group: 'Data',
    value: 'KEY',
    help: 'keys whose strings are the text of a JSON line',
  }),
  skipInvalid: flag(z.boolean().default(false), {
    group: 'Data',
    help: 'count lines that cannot be used and go on, instead of stopping at the first',
  }),
};

const schema = z.object({
  ...textInputFlags,
  ...tokenizerFlags,
  appendEod: flag(z.boolean().default(false), {
    group: 'Tokenizer',
    help: 'end every document with the end-of-document token',
  }),
  outputPrefix: flag(pathSchema, {
    group: 'Output',
    value: 'PREFIX',
    help: 'writes PREFIX_KEY_document.bin and .idx for every key',
  }),
  workers: flag(countSchema.optional(), { group: 'Engine', help: 'threads that tokenize', default: 'all cores' }),
  debug: debugFlag,
});

type Options = z.output<typeof schema>;

export type PreprocessConfig = Readonly<Omit<Options, 'workers'> & { workers: number }>;

export const preprocessCommand = defineCommand({
  name: 'preprocess',
  summary: "turn text into the token files that training reads, in Megatron's format",
  examples: ['preprocess --input news.jsonl --append-eod --output-prefix news'],
  schema,
  resolve(options: Options): PreprocessConfig {
    tokenizerSource(options);
    refuseDuplicateKeys(options.jsonKeys);
    return { ...options, workers: threadsOrAll(options.workers) };
  },
});

/** Two equal keys would write one file twice. */
export function refuseDuplicateKeys(keys: readonly string[]): void {
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined) {
    throw new UsageError(`--json-keys names "${twice}" twice`, { remedy: 'Name every key once.' });
  }
}
