/** Options that several commands share: the engine, the tokenizer, the random seed. */

import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { type TokenizerSource, tokenizerTypes } from '../data/tokenizers/tokenizer.ts';
import type { DeviceName } from '../tensor/engines/select.ts';
import { flag } from './flag.ts';

/** Written out, since the engine's own list would bring the native code with it. */
const devices = ['auto', 'cuda', 'cpu', 'reference'] as const satisfies readonly DeviceName[];

export const countSchema = z.int().min(1);
export const pathSchema = z.string().min(1);

export const seedFlag = flag(
  z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(1234),
  {
    group: 'Engine',
    help: 'seed of the initial weights, dropout, data order and sampling',
  },
);

export const engineFlags = {
  device: flag(z.enum(devices).default('auto'), {
    group: 'Engine',
    value: 'NAME',
    help: 'engine; auto takes the fastest that this machine has (see megatron doctor)',
  }),
  numThreads: flag(countSchema.optional(), {
    group: 'Engine',
    help: 'threads of the engine',
    default: 'all cores',
  }),
};

export const debugFlag = flag(z.boolean().default(false), {
  group: 'Engine',
  help: 'print stack traces of errors (so does MEGATRON_DEBUG=1)',
});

export const tokenizerFlags = {
  tokenizerType: flag(z.enum(tokenizerTypes).default('GPT2BPETokenizer'), {
    group: 'Tokenizer',
    value: 'TYPE',
    help: 'kind of tokenizer; GPT2BPETokenizer without files is the built-in GPT-2 vocabulary',
  }),
  vocabFile: flag(pathSchema.optional(), {
    group: 'Tokenizer',
    value: 'FILE',
    help: 'GPT-2 vocab.json, or BERT vocab.txt',
  }),
  mergeFile: flag(pathSchema.optional(), { group: 'Tokenizer', value: 'FILE', help: 'GPT-2 merges.txt' }),
  tokenizerModel: flag(pathSchema.optional(), {
    group: 'Tokenizer',
    value: 'FILE',
    help: "tokenizer.json for HuggingFaceTokenizer, such as megatron train-tokenizer's",
  }),
};

interface TokenizerOptions {
  readonly tokenizerType: TokenizerSource['type'];
  readonly vocabFile?: string | undefined;
  readonly mergeFile?: string | undefined;
  readonly tokenizerModel?: string | undefined;
}

/** Files that each type needs, and those that it may have. */
const tokenizerFiles: Readonly<
  Record<TokenizerSource['type'], { needs: readonly FileKey[]; allows: readonly FileKey[] }>
> = {
  GPT2BPETokenizer: { needs: [], allows: ['vocabFile', 'mergeFile'] },
  BertWordPieceLowerCase: { needs: ['vocabFile'], allows: ['vocabFile'] },
  HuggingFaceTokenizer: { needs: ['tokenizerModel'], allows: ['tokenizerModel'] },
  ByteLevel: { needs: [], allows: [] },
};
type FileKey = 'vocabFile' | 'mergeFile' | 'tokenizerModel';

const fileFlags: Readonly<Record<FileKey, string>> = {
  vocabFile: '--vocab-file',
  mergeFile: '--merge-file',
  tokenizerModel: '--tokenizer-model',
};

/**
 * The tokenizer that the options describe.
 *
 * @throws UsageError where the type lacks a file or a file belongs to another type.
 */
export function tokenizerSource(options: TokenizerOptions): TokenizerSource {
  const { tokenizerType: type, vocabFile, mergeFile, tokenizerModel } = options;
  const files = { vocabFile, mergeFile, tokenizerModel };
  const { needs, allows } = tokenizerFiles[type];
  for (const key of needs) {
    if (files[key] !== undefined) continue;
    throw new UsageError(`--tokenizer-type ${type} needs ${fileFlags[key]}`, { remedy: `Add ${fileFlags[key]} FILE.` });
  }
  for (const key of ['vocabFile', 'mergeFile', 'tokenizerModel'] as const) {
    if (files[key] === undefined || allows.includes(key)) continue;
    const owner = tokenizerOf(files);
    throw new UsageError(`${fileFlags[key]} does not go with --tokenizer-type ${type}`, {
      remedy: `Remove it, or choose --tokenizer-type ${owner}.`,
    });
  }
  if (type === 'GPT2BPETokenizer' && (vocabFile === undefined) !== (mergeFile === undefined)) {
    const missing = vocabFile === undefined ? '--vocab-file' : '--merge-file';
    throw new UsageError(`--vocab-file and --merge-file come together; ${missing} is missing`, {
      remedy: `Add ${missing} FILE, or neither for the built-in GPT-2 vocabulary.`,
    });
  }
  return {
    type,
    ...(vocabFile === undefined ? {} : { vocabFile }),
    ...(mergeFile === undefined ? {} : { mergeFile }),
    ...(tokenizerModel === undefined ? {} : { tokenizerModel }),
  };
}

function tokenizerOf(files: Readonly<Record<FileKey, string | undefined>>): TokenizerSource['type'] {
  if (files.tokenizerModel !== undefined) return 'HuggingFaceTokenizer';
  return files.mergeFile === undefined ? 'BertWordPieceLowerCase' : 'GPT2BPETokenizer';
}

/** Threads asked for, or one for each core that this process may use. */
export function threadsOrAll(numThreads: number | undefined): number {
  return numThreads ?? availableParallelism();
}
