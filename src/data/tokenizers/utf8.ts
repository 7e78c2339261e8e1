/** UTF-16 code units to UTF-8 bytes into memory that is already there. */

/**
 * Writes the UTF-8 bytes of `text[start … end)` as numbers to `target` from `offset`, looked up in `table` (byte → number). Lone surrogates are
 * written as U+FFFD.
 *
 * @param target room for 3 · (end − start) numbers.
 * @returns the offset after the last number.
 */
export function writeUtf8(
  text: string,
  start: number,
  end: number,
  table: Int32Array,
  target: Int32Array,
  offset: number,
): number {
  let at = offset;
  for (let index = start; index < end; index++) {
    let code = text.charCodeAt(index);
    if (code < 0x80) {
      target[at++] = table[code] as number;
      continue;
    }
    if (code < 0x800) {
      target[at++] = table[0xc0 | (code >> 6)] as number;
      target[at++] = table[0x80 | (code & 0x3f)] as number;
      continue;
    }
    if ((code & 0xf800) === 0xd800) {
      const low = index + 1 < end ? text.charCodeAt(index + 1) : 0;
      if (code < 0xdc00 && (low & 0xfc00) === 0xdc00) {
        code = ((code - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
        index++;
        target[at++] = table[0xf0 | (code >> 18)] as number;
        target[at++] = table[0x80 | ((code >> 12) & 0x3f)] as number;
        target[at++] = table[0x80 | ((code >> 6) & 0x3f)] as number;
        target[at++] = table[0x80 | (code & 0x3f)] as number;
        continue;
      }
      code = 0xfffd;
    }
    target[at++] = table[0xe0 | (code >> 12)] as number;
    target[at++] = table[0x80 | ((code >> 6) & 0x3f)] as number;
    target[at++] = table[0x80 | (code & 0x3f)] as number;
  }
  return at;
}
