/** The bytes of every token of a vocabulary, and the text that ids stand for. */

import { DataError } from '../../base/errors.ts';

export interface TokenBytes {
  bytesOf(id: number): Uint8Array;
  textOf(ids: ArrayLike<number>): string;
}

/**
 * @param tokens bytes by id; undefined where the vocabulary has no such id.
 */
export function createTokenBytes(tokens: readonly (Uint8Array | undefined)[]): TokenBytes {
  const starts = new Int32Array(tokens.length + 1);
  tokens.forEach((token, id) => {
    starts[id + 1] = (starts[id] as number) + (token?.length ?? 0);
  });
  const bytes = new Uint8Array(starts[tokens.length] as number);
  tokens.forEach((token, id) => {
    if (token !== undefined) bytes.set(token, starts[id]);
  });

  const check = (id: number): void => {
    if (tokens[id] === undefined) throw unknownId(id, tokens.length);
  };
  return {
    bytesOf(id) {
      check(id);
      return bytes.slice(starts[id], starts[id + 1]);
    },
    textOf(ids) {
      let length = 0;
      for (let index = 0; index < ids.length; index++) {
        const id = ids[index] as number;
        check(id);
        length += (starts[id + 1] as number) - (starts[id] as number);
      }
      const joined = new Uint8Array(length);
      let at = 0;
      for (let index = 0; index < ids.length; index++) {
        const id = ids[index] as number;
        for (let byte = starts[id] as number; byte < (starts[id + 1] as number); byte++)
          joined[at++] = bytes[byte] as number;
      }
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(joined);
    },
  };
}

export function unknownId(id: number, vocabSize: number): DataError {
  return new DataError(`token id ${id} is not in the vocabulary of ${vocabSize}`, {
    remedy: 'Decode with the tokenizer that wrote the ids.',
  });
}
