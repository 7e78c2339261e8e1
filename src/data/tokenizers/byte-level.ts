/** The tokenizer without a vocabulary: each UTF-8 byte is its own id, and 256 ends a document. */

import { tokenizerIdentity } from './identity.ts';
import { createTokenBytes } from './token-bytes.ts';
import type { Tokenizer } from './tokenizer.ts';

const endOfDocument = 256;

export function createByteLevel(): Tokenizer {
  const utf8 = new TextEncoder();
  const token = createTokenBytes(
    Array.from({ length: endOfDocument + 1 }, (_, id) =>
      id === endOfDocument ? new Uint8Array(0) : Uint8Array.of(id),
    ),
  );
  return {
    type: 'ByteLevel',
    vocabSize: endOfDocument + 1,
    endOfDocument,
    identity: tokenizerIdentity('bytes, then end of document', []),
    encodesInPieces: true,
    encode: (text) => Int32Array.from(utf8.encode(text)),
    decode: (ids) => token.textOf(ids),
    decodeBytes: (id) => token.bytesOf(id),
  };
}
