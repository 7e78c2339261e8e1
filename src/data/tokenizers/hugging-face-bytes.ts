/** Bytes that one token of a `tokenizer.json` stands for, by the decoder that the file describes. */

import { bytesOfPrintable, characterBytes } from './byte-alphabet.ts';
import { isRecord } from './vocabulary-files.ts';

const byteToken = /^<0x([0-9A-Fa-f]{2})>$/;

/**
 * A function from a token to its bytes, inside a text (at the very start of one, a leading space may not belong to it).
 *
 * @param decoder the file's `decoder`: ByteLevel, WordPiece, Metaspace, or a Sequence of Replace, ByteFallback and others.
 */
export function decodedBytes(decoder: unknown): (token: string, special: boolean) => Uint8Array {
  const steps = flatten(decoder);
  const kinds = new Set(steps.map((step) => step.type));
  const utf8 = new TextEncoder();
  const bytes = characterBytes();
  const replacements = steps.flatMap(replacementOf);
  const wordPiece = steps.find((step) => step.type === 'WordPiece');
  const prefix = typeof wordPiece?.prefix === 'string' ? wordPiece.prefix : '##';

  return (token, special) => {
    if (special) return utf8.encode(wordPiece === undefined ? token : ` ${token}`);
    if (kinds.has('ByteLevel')) return bytesOfPrintable(token, bytes) ?? utf8.encode(token);
    if (wordPiece !== undefined)
      return utf8.encode(token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`);
    const byte = kinds.has('ByteFallback') ? byteToken.exec(token)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return utf8.encode(replacements.reduce((text, [from, to]) => text.replaceAll(from, to), token));
  };
}

function flatten(decoder: unknown): Record<string, unknown>[] {
  if (!isRecord(decoder)) return [];
  return decoder.type === 'Sequence' && Array.isArray(decoder.decoders) ? decoder.decoders.flatMap(flatten) : [decoder];
}

function replacementOf(step: Record<string, unknown>): (readonly [string, string])[] {
  if (step.type === 'Metaspace') return [[typeof step.replacement === 'string' ? step.replacement : '▁', ' ']];
  if (step.type === 'BPEDecoder') return [[typeof step.suffix === 'string' ? step.suffix : '</w>', ' ']];
  const pattern = isRecord(step.pattern) ? step.pattern.String : undefined;
  return step.type === 'Replace' && typeof pattern === 'string' && typeof step.content === 'string'
    ? [[pattern, step.content]]
    : [];
}
