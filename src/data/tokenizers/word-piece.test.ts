/** WordPiece against the golden tokenizations of the SQuAD questions, and BERT's own rules case by case. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedData } from '../../../test/fixtures/tokenizers/shared-data.ts';
import { splitWord, whitespaceWords } from './bert-words.ts';
import { createTokenizer } from './create-tokenizer.ts';

const wordsOf = (text: string): string[] => whitespaceWords(text).flatMap(splitWord);

describe('BERT words', () => {
  const cases: readonly (readonly [what: string, text: string, words: readonly string[]])[] = [
    ['lower case', 'HeLLo World', ['hello', 'world']],
    ['accents', 'Café naïve Ångström e\u0301té', ['cafe', 'naive', 'angstrom', 'ete']],
    [
      'all ASCII signs are punctuation',
      "don't $5.00+a^b`c",
      ['don', "'", 't', '$', '5', '.', '00', '+', 'a', '^', 'b', '`', 'c'],
    ],
    ['Unicode punctuation, but not symbols', '“a”—b…€c', ['“', 'a', '”', '—', 'b', '…', '€c']],
    [
      'ideographs stand alone, kana and hangul do not',
      'ab漢字かな 한',
      ['ab', '漢', '字', 'かな', '한'.normalize('NFD')],
    ],
    ['wide ideographs too', 'x𠀀y', ['x', '𠀀', 'y']],
    ['controls and format characters vanish', 'a\0b\u200bc\u00add\u0085e\u000bf\ufffdg\ufeff', ['abcdefg']],
    ['tab and line breaks are spaces', 'a\tb\r\nc\u00a0d\u3000e\u2028f', ['a', 'b', 'c', 'd', 'e', 'f']],
    ['capital sigma at the end of a word', 'ΟΔΟΣ', ['οδος']],
    ['dotted capital I', 'İI', ['ii']],
    ['lone surrogates vanish', 'a\ud800b', ['ab']],
    ['nothing', ' \n ', []],
  ];
  it.each(cases)('%s', (_, text, words) => {
    expect(wordsOf(text)).toEqual(words);
  });
});

describe('WordPiece with the uncased BERT vocabulary', () => {
  interface Question {
    readonly original: string;
    readonly basic: readonly string[];
    readonly wordpiece: readonly string[];
  }

  it('gives the golden words, pieces and ids of all 10,570 questions', (context) => {
    const vocabFile = sharedData(context, 'bert-vocab/bert-base-uncased-vocab.txt');
    const read = (name: string): unknown =>
      JSON.parse(readFileSync(sharedData(context, `hf-swift-fixtures/${name}`), 'utf8'));
    const questions = read('question_tokens.json') as Question[];
    const basic = read('basic_tokenized_questions.json') as string[][];
    const ids = read('tokenized_questions.json') as number[][];
    expect([questions.length, basic.length, ids.length]).toEqual([10570, 10570, 10570]);

    const tokenizer = createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile });
    const vocabulary = readFileSync(vocabFile, 'utf8').trimEnd().split('\n');
    expect(tokenizer.vocabSize).toBe(30522);
    const wrong: unknown[] = [];
    questions.forEach(({ original, basic: words, wordpiece }, index) => {
      const encoded = [...tokenizer.encode(original)];
      const found = [wordsOf(original), wordsOf(original), encoded.map((id) => vocabulary[id]), encoded];
      const golden = [words, basic[index], wordpiece, ids[index]];
      if (JSON.stringify(found) !== JSON.stringify(golden)) wrong.push({ original, found, golden });
    });
    expect(wrong).toEqual([]);
  });
});

describe('WordPiece with a small vocabulary', () => {
  let folder = '';
  let vocabFile = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'word-piece-'));
    vocabFile = join(folder, 'vocab.txt');
    writeFileSync(vocabFile, '[PAD]\n[UNK]\nun\n##aff\n##able\n##a\na\n##𠮷\n𠮷\n.\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes the longest piece from the left, or the whole word is unknown', () => {
    const tokenizer = createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile });
    expect([...tokenizer.encode('Unaffable unaffx a.')]).toEqual([2, 3, 4, 1, 6, 9]);
    expect([...tokenizer.encode('[UNK]')]).toEqual([1, 1, 1]);
    expect([...tokenizer.encode('')]).toEqual([]);
  });

  it('counts the characters of a word, not its code units, up to 200', () => {
    const tokenizer = createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile });
    expect(tokenizer.encode('a'.repeat(200)).length).toBe(200);
    expect([...tokenizer.encode('a'.repeat(201))]).toEqual([1]);
    // Not in BERT's list of ideographs, so that it makes words; two code units each.
    writeFileSync(vocabFile, '[UNK]\n𝒳\n##𝒳\n');
    const wide = createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile });
    expect(wide.encode('𝒳'.repeat(200)).length).toBe(200);
    expect([...wide.encode('𝒳'.repeat(201))]).toEqual([0]);
    writeFileSync(vocabFile, '[PAD]\n[UNK]\nun\n##aff\n##able\n##a\na\n##𠮷\n𠮷\n.\n');
  });

  it('decodes words with spaces between them, pieces glued on, and has no end of document', () => {
    const tokenizer = createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile });
    expect(tokenizer.decode([2, 3, 4, 6, 9])).toBe('unaffable a .');
    expect(Buffer.from(tokenizer.decodeBytes(3)).toString()).toBe('aff');
    expect(Buffer.from(tokenizer.decodeBytes(2)).toString()).toBe(' un');
    expect(tokenizer.endOfDocument).toBeUndefined();
    expect(() => tokenizer.decode([10])).toThrow(/token id 10/);
  });

  it('needs [UNK]', () => {
    const path = join(folder, 'bad.txt');
    writeFileSync(path, 'a\nb\n');
    expect(() => createTokenizer({ type: 'BertWordPieceLowerCase', vocabFile: path })).toThrow(/no token \[UNK\]/);
  });
});
