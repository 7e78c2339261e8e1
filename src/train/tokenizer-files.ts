/** The tokenizer travels with the checkpoint, so that a model can write wherever its folder is copied. */

import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { CheckpointError } from '../base/errors.ts';
import { fileError } from '../base/files.ts';
import type { Attachment, Checkpoint, JsonObject, TokenizerRecord } from '../checkpoint/index.ts';
import { createTokenizer } from '../data/tokenizers/create-tokenizer.ts';
import { type Tokenizer, type TokenizerSource, tokenizerTypes } from '../data/tokenizers/tokenizer.ts';

/** Each with its name in a checkpoint: a file's own name may be any, and the same for two. */
const attachedNames = {
  vocabFile: 'tokenizer-vocab',
  mergeFile: 'tokenizer-merges',
  tokenizerModel: 'tokenizer-model',
} as const;
const fileKeys = ['vocabFile', 'mergeFile', 'tokenizerModel'] as const satisfies (keyof typeof attachedNames)[];

export const tokenizerRecord = ({ type, identity, vocabSize }: Tokenizer): TokenizerRecord => ({
  type,
  identity,
  vocabSize,
});

/** The source with its files' names alone, as it is kept in a checkpoint. */
export function portableSource(source: TokenizerSource): JsonObject {
  const files = fileKeys.flatMap((key) => (source[key] === undefined ? [] : [[key, attachedName(key, source[key])]]));
  return { type: source.type, ...Object.fromEntries(files) };
}

function attachedName(key: keyof typeof attachedNames, path: string): string {
  const extension = extname(path);
  return `${attachedNames[key]}${/^\.[a-z]+$/.test(extension) ? extension : ''}`;
}

export function tokenizerAttachments(source: TokenizerSource): Attachment[] {
  return fileKeys.flatMap((key) => {
    const path = source[key];
    if (path === undefined) return [];
    try {
      return [{ name: attachedName(key, path), content: readFileSync(path) }];
    } catch (error) {
      throw fileError(`cannot read the tokenizer file ${path}`, error);
    }
  });
}

/** The tokenizer that a checkpoint carries. @throws CheckpointError when it carries none, or its files are damaged. */
export function tokenizerOfCheckpoint(checkpoint: Checkpoint): Tokenizer {
  const settings = checkpoint.manifest.trainingState['tokenizerSource'] as JsonObject | undefined;
  const type = tokenizerTypes.find((name) => name === settings?.['type']);
  if (!settings || !type) {
    throw new CheckpointError(`the checkpoint ${checkpoint.folder} carries no tokenizer`, {
      remedy: 'Give --tokenizer-type and its files.',
    });
  }
  const files = fileKeys.flatMap((key) => {
    const name = settings[key];
    if (typeof name !== 'string') return [];
    checkpoint.attachment(name); // reads it to be sure that it is what was saved
    return [[key, join(checkpoint.folder, name)]];
  });
  const tokenizer = createTokenizer({ type, ...Object.fromEntries(files) });
  assertSameTokenizer(checkpoint, tokenizer);
  return tokenizer;
}

/** @throws CheckpointError when the tokenizer gives other ids than the one the model was trained with. */
export function assertSameTokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer | undefined): void {
  const saved = checkpoint.manifest.tokenizer;
  if (!saved || saved.identity === tokenizer?.identity) return;
  if (!tokenizer) {
    throw new CheckpointError(
      `the checkpoint ${checkpoint.folder} has a tokenizer, and --vocab-size says there is none`,
      {
        remedy: 'Give the tokenizer options of its run instead of --vocab-size.',
      },
    );
  }
  throw new CheckpointError(
    `the checkpoint ${checkpoint.folder} was trained with another tokenizer (${saved.type}, ${saved.vocabSize} tokens)`,
    { remedy: 'Give the tokenizer files that the data was preprocessed with.' },
  );
}
