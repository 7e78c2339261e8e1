/** Training of a byte-level BPE vocabulary: the most frequent neighbours merge, again and again (Sennrich et al. 2016; bytes as in GPT-2). */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { UsageError } from '../../base/errors.ts';
import { byteCharacters, bytesInIdOrder } from './byte-alphabet.ts';
import { endOfText } from './byte-level-bpe.ts';
import { createCharacterClasses } from './character-classes.ts';
import { createPairStatistics, type PairStatistics } from './pair-statistics.ts';
import { createPreTokenCounts, type PreTokenCounts } from './pre-token-counts.ts';
import { writeUtf8 } from './utf8.ts';

export interface TrainBpeProgress {
  /** `read`: `done` counts characters. `merge`: `done` of `total` merges are found. */
  readonly stage: 'read' | 'merge';
  readonly done: number;
  readonly total?: number;
}

export interface TrainBpeOptions {
  /** The text, in any pieces: cut where `src/data/text` cuts, the pieces give the same vocabulary as the whole. */
  readonly texts: Iterable<string> | AsyncIterable<string>;
  /** Tokens in all: 256 bytes, merges, special tokens. */
  readonly vocabSize: number;
  /** Pairs seen less often are not merged; default 2. */
  readonly minFrequency?: number;
  /** Default `['<|endoftext|>']`. */
  readonly specialTokens?: readonly string[];
  readonly onProgress?: (progress: TrainBpeProgress) => void;
}

/** A trained vocabulary, tokens written in GPT-2's printable alphabet. */
export interface TrainedBpe {
  /** Token by id: the 256 bytes in GPT-2's order, the merges in the order found, then the special tokens. */
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [left: string, right: string])[];
  readonly specialTokens: readonly string[];
}

/** Merges between two reports of progress (and two chances for signals to be heard). */
const mergesPerTurn = 128;

/**
 * Trains on `texts`. The result is a function of the text alone: among equally frequent pairs the one with the smaller left id is merged, then the
 * one with the smaller right id (as Hugging Face's trainer does). Special tokens have the last ids, so that `<|endoftext|>` alone is
 * `vocabSize − 1`, as in GPT-2. The vocabulary is smaller than asked for where no pair occurs `minFrequency` times any more.
 *
 * Text is split as GPT-2 splits it. Memory grows with the number of different words, not with the text.
 *
 * @throws UsageError for a vocabulary too small for the bytes and the special tokens, or a special token that is empty or named twice.
 */
export async function trainByteLevelBpe(options: TrainBpeOptions): Promise<TrainedBpe> {
  const { texts, vocabSize, minFrequency = 2, specialTokens = [endOfText], onProgress } = options;
  checkOptions(vocabSize, minFrequency, specialTokens);

  const counts = createPreTokenCounts(createCharacterClasses());
  let characters = 0;
  for await (const text of texts) {
    counts.countAll(text);
    characters += text.length;
    onProgress?.({ stage: 'read', done: characters });
  }

  const words = createWords(counts);
  const pairs = createPairStatistics();
  for (let word = 0; word < words.size; word++) words.countPairs(word, pairs);
  pairs.settle();

  const alphabet = byteCharacters();
  const tokens = bytesInIdOrder().map((byte) => alphabet[byte] as string);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: (readonly [string, string])[] = [];
  const merged = new Set<number>();
  const wanted = vocabSize - specialTokens.length;
  const total = wanted - tokens.length;
  while (tokens.length < wanted) {
    const pair = pairs.takeBest(Math.max(1, minFrequency));
    if (pair < 0) break;
    const left = tokens[pairs.leftOf(pair)] as string;
    const right = tokens[pairs.rightOf(pair)] as string;
    // Two different pairs can spell the same token; it keeps its first id.
    let id = ids.get(left + right);
    if (id === undefined) {
      id = tokens.push(left + right) - 1;
      ids.set(left + right, id);
    }
    // For the same reason a pair can come back after it was merged: it merges again, under the rank that it has.
    if (!merged.has(pair)) merges.push([left, right]);
    merged.add(pair);
    const symbol = id;
    const held: number[] = [];
    pairs.takeWords(pair, (word) => held.push(word));
    for (const word of held) words.mergePair(word, pairs.leftOf(pair), pairs.rightOf(pair), symbol, pairs);
    pairs.settle();
    if (merges.length % mergesPerTurn === 0) {
      onProgress?.({ stage: 'merge', done: tokens.length - 256, total });
      await nextTurn();
    }
  }
  onProgress?.({ stage: 'merge', done: tokens.length - 256, total: tokens.length - 256 });
  // A special token that the text spelled out often enough to be merged keeps that id; no two ids may have one spelling.
  const added = specialTokens.filter((token) => !ids.has(token));
  return { tokens: [...tokens, ...added], merges, specialTokens };
}

function checkOptions(vocabSize: number, minFrequency: number, specialTokens: readonly string[]): void {
  const smallest = 256 + specialTokens.length;
  if (!Number.isInteger(vocabSize) || vocabSize < smallest)
    throw new UsageError(`a vocabulary of ${vocabSize} tokens is too small`, {
      remedy: `It needs at least ${smallest}: 256 bytes and ${specialTokens.length} special token(s).`,
    });
  if (!(minFrequency >= 0))
    throw new UsageError(`the minimum frequency is ${minFrequency}`, { remedy: 'Give a number from 1 up.' });
  if (specialTokens.some((token) => token.length < 2) || new Set(specialTokens).size !== specialTokens.length)
    throw new UsageError(
      `special tokens must differ and have at least two characters: ${JSON.stringify(specialTokens)}`,
      {
        remedy: 'Name each special token once, such as <|endoftext|>.',
      },
    );
}

/** The different pre-tokens as sequences of symbols, merged in place. */
interface Words {
  readonly size: number;
  countPairs(word: number, pairs: PairStatistics): void;
  /** Merges every `left right` in the word into `symbol`, from the left, and keeps `pairs` exact. */
  mergePair(word: number, left: number, right: number, symbol: number, pairs: PairStatistics): void;
}

function createWords(counts: PreTokenCounts): Words {
  const size = counts.size;
  const starts = new Float64Array(size + 1);
  const lengths = new Int32Array(size);
  const frequencies = new Float64Array(size);
  const byteIds = new Int32Array(256);
  bytesInIdOrder().forEach((byte, id) => {
    byteIds[byte] = id;
  });
  let symbols = new Int32Array(1 << 16);
  for (let word = 0; word < size; word++) {
    const text = counts.textAt(word);
    const start = starts[word] as number;
    if (start + 3 * text.length > symbols.length) {
      const larger = new Int32Array(2 * symbols.length + 3 * text.length);
      larger.set(symbols);
      symbols = larger;
    }
    const end = writeUtf8(text, 0, text.length, byteIds, symbols, start);
    starts[word + 1] = end;
    lengths[word] = end - start;
    frequencies[word] = counts.countAt(word);
  }

  return {
    size,
    countPairs(word, pairs) {
      const start = starts[word] as number;
      const end = start + (lengths[word] as number);
      const frequency = frequencies[word] as number;
      for (let at = start; at + 1 < end; at++)
        pairs.add(symbols[at] as number, symbols[at + 1] as number, frequency, word);
    },
    mergePair(word, left, right, symbol, pairs) {
      const start = starts[word] as number;
      const end = start + (lengths[word] as number);
      const frequency = frequencies[word] as number;
      let to = start;
      for (let from = start; from < end; ) {
        if (from + 1 < end && symbols[from] === left && symbols[from + 1] === right) {
          // The word now reads symbols[start … to) then symbols[from … end): what changes are this pair and its two neighbours.
          pairs.add(left, right, -frequency, word);
          if (to > start) {
            pairs.add(symbols[to - 1] as number, left, -frequency, word);
            pairs.add(symbols[to - 1] as number, symbol, frequency, word);
          }
          if (from + 2 < end) {
            pairs.add(right, symbols[from + 2] as number, -frequency, word);
            pairs.add(symbol, symbols[from + 2] as number, frequency, word);
          }
          symbols[to++] = symbol;
          from += 2;
        } else {
          symbols[to++] = symbols[from++] as number;
        }
      }
      lengths[word] = to - start;
    },
  };
}
