/** A trained vocabulary as files: `tokenizer.json` for Hugging Face, `vocab.json` and `merges.txt` for Megatron and GPT-2 tools. */

import { join } from 'node:path';
import { writeFileAtomically } from '../../base/files.ts';
import type { TrainedBpe } from './train-bpe.ts';

export interface TokenizerFiles {
  readonly tokenizerModel: string;
  readonly vocabFile: string;
  readonly mergeFile: string;
}

/**
 * Writes the three files into `folder` (made where missing) and gives their paths; each is complete or not there.
 *
 * @throws MegatronError naming the path where the disk is full or the folder cannot be written.
 */
export function writeTokenizerFiles(trained: TrainedBpe, folder: string): TokenizerFiles {
  const files = {
    tokenizerModel: join(folder, 'tokenizer.json'),
    vocabFile: join(folder, 'vocab.json'),
    mergeFile: join(folder, 'merges.txt'),
  };
  const vocabulary = Object.fromEntries(trained.tokens.map((token, id) => [token, id]));
  const merges = trained.merges.map(([left, right]) => `${left} ${right}`);
  writeFileAtomically(files.vocabFile, `${JSON.stringify(vocabulary)}\n`);
  writeFileAtomically(files.mergeFile, `${['#version: 0.2', ...merges].join('\n')}\n`);
  writeFileAtomically(
    files.tokenizerModel,
    `${JSON.stringify(huggingFaceFile(trained, vocabulary, merges), null, 1)}\n`,
  );
  return files;
}

function huggingFaceFile(trained: TrainedBpe, vocab: Record<string, number>, merges: readonly string[]): object {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: trained.specialTokens.map((content) => ({
      id: trained.tokens.indexOf(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: { ...byteLevel, trim_offsets: false },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}
