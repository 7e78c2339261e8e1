/** One tokenizer of any type from its source. */

import { UsageError } from '../../base/errors.ts';
import { createByteLevel } from './byte-level.ts';
import { createByteLevelBpe } from './byte-level-bpe.ts';
import { builtInGpt2, readGpt2Files } from './gpt2-files.ts';
import { createHuggingFace } from './hugging-face.ts';
import { type Tokenizer, type TokenizerSource, tokenizerTypes } from './tokenizer.ts';
import { createWordPiece } from './word-piece.ts';

/**
 * Reads the files of `source` and builds its tokenizer. GPT2BPETokenizer with neither file is the released GPT-2 vocabulary.
 *
 * | type | files | end of document |
 * |---|---|---|
 * | GPT2BPETokenizer | vocabFile and mergeFile, or neither | `<|endoftext|>` |
 * | BertWordPieceLowerCase | vocabFile | none |
 * | HuggingFaceTokenizer | tokenizerModel | `<|endoftext|>`, else `</s>`, else `<eos>` |
 * | ByteLevel | none | 256 |
 *
 * @throws UsageError where a file is not named or named for nothing; DataError where one is missing, malformed or contradicts another.
 */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  const { type, vocabFile, mergeFile, tokenizerModel } = source;
  switch (type) {
    case 'GPT2BPETokenizer': {
      refuse(type, { tokenizerModel });
      if (vocabFile === undefined && mergeFile === undefined) return createByteLevelBpe(type, builtInGpt2());
      if (vocabFile !== undefined && mergeFile !== undefined)
        return createByteLevelBpe(type, readGpt2Files(vocabFile, mergeFile));
      throw new UsageError(
        `GPT2BPETokenizer has a ${vocabFile === undefined ? 'merge file but no vocabulary' : 'vocabulary but no merge file'}`,
        {
          remedy: 'Give both --vocab-file and --merge-file, or neither for the built-in GPT-2 vocabulary.',
        },
      );
    }
    case 'BertWordPieceLowerCase':
      refuse(type, { mergeFile, tokenizerModel });
      if (vocabFile === undefined)
        throw new UsageError('BertWordPieceLowerCase needs a vocabulary', {
          remedy: "Give BERT's vocab.txt with --vocab-file.",
        });
      return createWordPiece(vocabFile);
    case 'HuggingFaceTokenizer':
      refuse(type, { vocabFile, mergeFile });
      if (tokenizerModel === undefined)
        throw new UsageError('HuggingFaceTokenizer needs a tokenizer.json', {
          remedy: 'Give its path with --tokenizer-model.',
        });
      return createHuggingFace(tokenizerModel);
    case 'ByteLevel':
      refuse(type, { vocabFile, mergeFile, tokenizerModel });
      return createByteLevel();
    default:
      throw new UsageError(`unknown tokenizer type ${JSON.stringify(type)}`, {
        remedy: `The types are ${tokenizerTypes.join(', ')}.`,
      });
  }
}

const flags: Readonly<Record<string, string>> = {
  vocabFile: '--vocab-file',
  mergeFile: '--merge-file',
  tokenizerModel: '--tokenizer-model',
};

/** A file that the type would never read is a mistake, not to be passed over. */
function refuse(type: string, files: Readonly<Record<string, string | undefined>>): void {
  for (const [name, path] of Object.entries(files)) {
    if (path !== undefined)
      throw new UsageError(`${type} does not use ${flags[name] ?? name} (${path})`, {
        remedy: 'Leave it out, or choose the tokenizer type that reads it.',
      });
  }
}
