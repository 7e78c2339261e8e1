/** The demo's first stages: text of this machine as JSON lines, a vocabulary for it, its tokens. */

import { join, relative } from 'node:path';
import { DataError } from '../../base/errors.ts';
import { writeFileAtomically } from '../../base/files.ts';
import { formatBytes, formatInteger } from '../../base/format.ts';
import { openIndexedDataset, preprocess } from '../../data/index.ts';
import { readTexts } from '../../data/text/read.ts';
import { trainByteLevelBpe } from '../../data/tokenizers/train-bpe.ts';
import { writeTokenizerFiles } from '../../data/tokenizers/write-tokenizer-files.ts';
import type { StageConsole } from './console.ts';
import { type CorpusDocument, type CorpusLimits, collectCorpus } from './corpus.ts';
import { findTextFiles, type TextKind } from './text-files.ts';

export type TextResult = {
  readonly bytes: number;
  readonly typeScriptBytes: number;
  /** Documents of each part; they stand in the file in this order. */
  readonly train: number;
  readonly valid: number;
  readonly test: number;
  /** Files left out because they repeat others. */
  readonly repeated: number;
};

export const corpusName = 'corpus.jsonl';
/** With less, nothing worth looking at can be learnt. */
const leastBytes = 200_000;

/** Collects the text and writes one JSON object a line: text, name. @throws DataError where there is too little. */
export async function collectText(
  output: string,
  folders: readonly string[],
  limits: CorpusLimits,
  page: StageConsole,
  signal: AbortSignal,
): Promise<TextResult> {
  const files = findTextFiles(folders);
  const corpus = await collectCorpus(files, limits, {
    signal,
    onProgress: (read, bytes) => page.update(() => `${formatBytes(bytes)} from ${read} of ${files.length} files`),
  });
  const { train, valid, test, repeated } = corpus;
  const all = [...train, ...valid, ...test];
  const size = (documents: readonly CorpusDocument[]): number => documents.reduce((sum, { bytes }) => sum + bytes, 0);
  if (size(all) < leastBytes || valid.length === 0 || test.length === 0) {
    throw new DataError(
      `there is too little text to learn from: ${formatBytes(size(all))} of TypeScript declarations and Markdown in ${folders.join(', ')}`,
      { remedy: 'Run `npm install` in the package, or train on text of your own: see `megatron preprocess --help`.' },
    );
  }
  const lines = all.map(({ name, text }) => `${JSON.stringify({ text, name })}\n`);
  writeFileAtomically(join(output, corpusName), lines.join(''));
  const typeScript: TextKind = 'TypeScript';
  return {
    bytes: size(all),
    typeScriptBytes: size(all.filter(({ kind }) => kind === typeScript)),
    ...{ train: train.length, valid: valid.length, test: test.length, repeated },
  };
}

/** Paths of the vocabulary, in the demo's folder. */
export interface TokenizerFilesOf {
  readonly vocabFile: string;
  readonly mergeFile: string;
}

export const tokenizerNames = ['tokenizer.json', 'vocab.json', 'merges.txt'].map((name) => join('tokenizer', name));

export const tokenizerFilesIn = (output: string): TokenizerFilesOf => ({
  vocabFile: join(output, 'tokenizer', 'vocab.json'),
  mergeFile: join(output, 'tokenizer', 'merges.txt'),
});

export type TokenizerResult = { readonly vocabSize: number };

export async function trainTokenizer(
  output: string,
  vocabSize: number,
  page: StageConsole,
  signal: AbortSignal,
): Promise<TokenizerResult> {
  let read = 0;
  const trained = await trainByteLevelBpe({
    texts: readTexts([join(output, corpusName)], {
      onBytes: (bytes) => {
        read += bytes;
      },
    }),
    vocabSize,
    onProgress: ({ stage, done, total }) => {
      signal.throwIfAborted();
      page.update(() =>
        stage === 'read'
          ? `reading ${formatBytes(read)}`
          : `${formatInteger(done)} of ${formatInteger(total ?? 0)} merges`,
      );
    },
  });
  writeTokenizerFiles(trained, join(output, 'tokenizer'));
  return { vocabSize: trained.tokens.length };
}

export type DataResult = {
  /** Path of the data set in the demo's folder, for `--data-path`. */
  readonly prefix: string;
  /** `--split`: documents of each part. */
  readonly split: string;
  readonly trainDocuments: number;
  readonly validDocuments: number;
  readonly testDocuments: number;
  readonly tokens: number;
  readonly validTokens: number;
  readonly testTokens: number;
};

export async function tokenizeText(
  output: string,
  text: TextResult,
  workers: number,
  page: StageConsole,
  signal: AbortSignal,
): Promise<DataResult> {
  const [summary] = await preprocess({
    inputs: [join(output, corpusName)],
    tokenizer: { type: 'GPT2BPETokenizer', ...tokenizerFilesIn(output) },
    appendEod: true,
    outputPrefix: join(output, 'data', 'corpus'),
    ...{ workers, signal },
    onProgress: ({ bytesRead, totalBytes }) =>
      page.update(() => `${formatBytes(bytesRead)} of ${formatBytes(totalBytes)}`),
  });
  if (summary === undefined) throw new DataError('preprocessing wrote no data set');
  using indexed = openIndexedDataset(summary.prefix);
  const tokensOf = (begin: number, end: number): number =>
    indexed.sequenceLengths.subarray(begin, end).reduce((sum, length) => sum + length, 0);
  const { train, valid, test } = text;
  return {
    prefix: relative(output, summary.prefix),
    split: `${train},${valid},${test}`,
    ...{ trainDocuments: train, validDocuments: valid, testDocuments: test },
    tokens: summary.tokens,
    validTokens: tokensOf(train, train + valid),
    testTokens: tokensOf(train + valid, train + valid + test),
  };
}
