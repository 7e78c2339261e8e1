/** BERT's basic tokenizer, uncased: text to lower-case words without accents, signs apart. */

/** Characters that are removed: NUL, U+FFFD, controls other than tab and line breaks, and format characters. */
const removed = /(?![\t\n\r])[\0\uFFFD\p{Cc}\p{Cf}]/gu;
/** The ideographs that stand alone (Devlin et al. 2018, `tokenization.py`): not kana or hangul, which are written in words. */
const ideographs =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;
/** White space once controls are gone. */
const spaces = /\p{White_Space}+/u;
/** All of ASCII that is neither letter, digit nor space counts as punctuation, also `$`, `+` and their like. */
const punctuation = /([!-/:-@[-`{-~]|\p{P})/u;
const accents = /\p{Mn}/gu;

/** True for text that only needs lower-casing and cutting. */
const plainAscii = /^[\t\n\r -~]*$/;

/** Parts of `text` between white space, cleaned; each is lower-cased and split by `splitWord`. Lone surrogates count as U+FFFD and are removed. */
export function whitespaceWords(text: string): string[] {
  const cleaned = plainAscii.test(text) ? text : text.toWellFormed().replace(removed, '').replace(ideographs, ' $& ');
  return cleaned.split(spaces).filter((word) => word !== '');
}

/** Lower case, accents stripped (NFD without `Mn`), and every sign of punctuation a word of its own. */
export function splitWord(word: string): string[] {
  const lower = word.toLowerCase();
  const bare = plainAscii.test(lower) ? lower : lower.normalize('NFD').replace(accents, '');
  return bare.split(punctuation).flatMap((part) => part.split(spaces).filter((piece) => piece !== ''));
}
