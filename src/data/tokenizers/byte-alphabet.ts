/** GPT-2's printable alphabet: every byte as one visible character, so that a token of any bytes can stand in a text file. */

/**
 * The 256 characters by byte value. Bytes that are visible Latin-1 characters stand for themselves; the others, in order, for U+0100, U+0101, …
 * (Radford et al. 2019, the released `encoder.py`.)
 */
export function byteCharacters(): string[] {
  const characters: string[] = [];
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) characters.push(String.fromCharCode(standsForItself(byte) ? byte : next++));
  return characters;
}

function standsForItself(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** The same table turned round: character → byte. */
export function characterBytes(): Map<string, number> {
  return new Map(byteCharacters().map((character, byte) => [character, byte]));
}

/** Byte values in the order of GPT-2's first 256 ids: by the code point of their character. */
export function bytesInIdOrder(): number[] {
  const characters = byteCharacters();
  return Array.from({ length: 256 }, (_, byte) => byte).sort(
    (one, other) => (characters[one] as string).charCodeAt(0) - (characters[other] as string).charCodeAt(0),
  );
}

/** Bytes of a token written in the alphabet, or undefined where it holds a character outside of it. */
export function bytesOfPrintable(token: string, bytes: ReadonlyMap<string, number>): Uint8Array | undefined {
  const result = new Uint8Array(token.length);
  for (let index = 0; index < token.length; index++) {
    const byte = bytes.get(token.charAt(index));
    if (byte === undefined) return undefined;
    result[index] = byte;
  }
  return result;
}
