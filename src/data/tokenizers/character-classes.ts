/** Unicode classes of UTF-16 code units, as a table: what the pre-tokenizer needs to know of a character, in one load. */

export const otherClass = 0;
const letterClass = 1;
const numberClass = 2;
export const spaceClass = 3;

/** Class by code unit of the basic plane; `wide` answers for the code points above it. */
export interface CharacterClasses {
  /** [65536]; surrogates are `otherClass`, as is U+FFFD, which a lone one becomes. */
  readonly basic: Uint8Array;
  /** Class of a code point ≥ U+10000. */
  wide(codePoint: number): number;
}

/**
 * Builds the table (about a millisecond). Letters are `\p{L}`, numbers `\p{N}`, spaces the White_Space property, which is what `\s` means in the
 * regular expressions of GPT-2 and of Hugging Face (JavaScript's own `\s` differs by U+0085 and U+FEFF).
 */
export function createCharacterClasses(): CharacterClasses {
  const basic = new Uint8Array(65536);
  const units = new Uint16Array(65536);
  for (let unit = 0; unit < 65536; unit++) units[unit] = unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit;
  const everyUnit = new TextDecoder('utf-16le', { ignoreBOM: true }).decode(units);
  const mark = (runs: RegExp, value: number): void => {
    for (const run of everyUnit.matchAll(runs)) basic.fill(value, run.index, run.index + run[0].length);
  };
  mark(/\p{L}+/gu, letterClass);
  mark(/\p{N}+/gu, numberClass);
  mark(/\p{White_Space}+/gu, spaceClass);

  const letter = /^\p{L}$/u;
  const number = /^\p{N}$/u;
  const wide = (codePoint: number): number => {
    // The historic and ideographic planes; emoji and symbols, by far the most frequent wide characters, take the first branch out.
    if (codePoint >= 0x1f300 && codePoint <= 0x1faff) return otherClass;
    if (codePoint >= 0x20000 && codePoint <= 0x2a6df) return letterClass;
    const character = String.fromCodePoint(codePoint);
    return letter.test(character) ? letterClass : number.test(character) ? numberClass : otherClass;
  };
  return { basic, wide };
}
