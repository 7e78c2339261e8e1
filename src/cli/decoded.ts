/** Bytes that ranks write, as text. */

import type { TextStream } from './command-module.ts';

/** Takes bytes in pieces, between which a character may be cut, and passes their text on. */
export function decodedInto(stream: TextStream): { write(bytes: Uint8Array): void } {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return {
    write(bytes) {
      stream.write(decoder.decode(bytes, { stream: true }));
    },
  };
}
