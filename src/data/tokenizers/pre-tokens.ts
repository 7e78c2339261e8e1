/** GPT-2's pre-tokenizer as a scanner: where the next word, number, run of signs or run of spaces ends. */

import { type CharacterClasses, otherClass, spaceClass } from './character-classes.ts';

const space = 0x20;
const apostrophe = 0x27;

/**
 * End of the pre-token that begins at `start`. The same cuts as
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * (Radford et al. 2019), without a regular expression: no allocation, and never slower than one step a character.
 *
 * @param text any string; lone surrogates count as U+FFFD.
 * @param start index of a code unit, < text.length.
 */
export function preTokenEnd(text: string, start: number, classes: CharacterClasses): number {
  const basic = classes.basic;
  const length = text.length;
  let unit = text.charCodeAt(start);
  let kind = basic[unit] as number;
  let index = start;

  if (unit === apostrophe) {
    const end = contractionEnd(text, start);
    if (end > start) return end;
  } else if (kind === spaceClass) {
    if (unit !== space || start + 1 >= length) return spaceRunEnd(text, start, basic);
    unit = text.charCodeAt(start + 1);
    kind = basic[unit] as number;
    if (kind === spaceClass) return spaceRunEnd(text, start, basic);
    // One space belongs to the word that follows it.
    index = start + 1;
  }

  if (isHighSurrogate(unit)) kind = wideClass(text, index, unit, classes);
  index += isPair(text, index, unit) ? 2 : 1;
  while (index < length) {
    unit = text.charCodeAt(index);
    if (isHighSurrogate(unit)) {
      if (wideClass(text, index, unit, classes) !== kind) return index;
      index += isPair(text, index, unit) ? 2 : 1;
    } else {
      if (basic[unit] !== kind) return index;
      index++;
    }
  }
  return length;
}

/** `\s+(?!\S)|\s+`: the whole run at the end of the text; else all but its last space, which the next pre-token begins with. */
function spaceRunEnd(text: string, start: number, basic: Uint8Array): number {
  let end = start + 1;
  while (end < text.length && basic[text.charCodeAt(end)] === spaceClass) end++;
  return end === text.length || end === start + 1 ? end : end - 1;
}

/** End of one of the seven English contractions at an apostrophe, or `start`. */
function contractionEnd(text: string, start: number): number {
  switch (text.charCodeAt(start + 1)) {
    case 0x73: // s
    case 0x74: // t
    case 0x6d: // m
    case 0x64: // d
      return start + 2;
    case 0x72: // r
    case 0x76: // v
      return text.charCodeAt(start + 2) === 0x65 ? start + 3 : start;
    case 0x6c: // l
      return text.charCodeAt(start + 2) === 0x6c ? start + 3 : start;
    default:
      return start;
  }
}

function isHighSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}

function isPair(text: string, index: number, unit: number): boolean {
  return isHighSurrogate(unit) && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00;
}

function wideClass(text: string, index: number, unit: number, classes: CharacterClasses): number {
  const low = text.charCodeAt(index + 1);
  if ((low & 0xfc00) !== 0xdc00) return otherClass;
  return classes.wide(((unit - 0xd800) << 10) + (low - 0xdc00) + 0x10000);
}
