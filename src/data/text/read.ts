/** Text files as a stream of documents, on one thread. */

import { readBlocks } from './blocks.ts';
import type { DocumentPiece, ReadOptions } from './documents.ts';
import { documentsIn } from './parse.ts';

/**
 * Documents of a `.jsonl` file (one a line), or of a plain-text file (all of it is one, in pieces), in order and in bounded memory.
 *
 * For many threads, read blocks here (`readBlocks`) and parse them there (`documentsIn`).
 *
 * @throws DataError naming file and line where a line cannot be used and `skipInvalid` is not set.
 */
export async function* readDocuments(path: string, options: ReadOptions = {}): AsyncGenerator<DocumentPiece, void> {
  let before = 0;
  for await (const block of readBlocks(path, options)) {
    const pieces = documentsIn(block, options);
    for (let step = pieces.next(); ; step = pieces.next()) {
      if (step.done === true) {
        before += step.value;
        break;
      }
      yield before === 0 ? step.value : { ...step.value, bytes: step.value.bytes + before };
      before = 0;
    }
  }
}

/** All the text of several files, piece by piece: what a tokenizer is trained on. `onBytes` is told of progress through the files. */
export async function* readTexts(
  paths: readonly string[],
  options: ReadOptions & { readonly onBytes?: (bytes: number) => void } = {},
): AsyncGenerator<string, void> {
  for (const path of paths) {
    for await (const piece of readDocuments(path, options)) {
      options.onBytes?.(piece.bytes);
      yield* piece.texts;
    }
  }
}
