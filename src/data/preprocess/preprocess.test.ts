/** Preprocessing: the output for any number of threads, and what is left after any failure. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataError, UsageError } from '../../base/errors.ts';
import { openIndexedDataset } from '../indexed-dataset/reader.ts';
import { type PreprocessOptions, preprocess } from './preprocess.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-preprocess-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const lines = (objects: readonly unknown[]) => objects.map((object) => `${JSON.stringify(object)}\n`).join('');

const options = (inputs: readonly string[], more: Partial<PreprocessOptions> = {}): PreprocessOptions => ({
  inputs,
  tokenizer: { type: 'ByteLevel' },
  appendEod: true,
  outputPrefix: join(folder, 'out'),
  ...more,
});

/** Texts of all sequences; "|" is the end-of-document token. */
function sequencesOf(prefix: string): string[] {
  using dataset = openIndexedDataset(prefix);
  return Array.from({ length: dataset.sequenceCount }, (_, i) => {
    const ids = dataset.readSequence(i);
    return Buffer.from(Uint8Array.from(ids, (id) => (id === 256 ? 0x7c : id))).toString();
  });
}

const outputs = () => readdirSync(folder).filter((name) => name.startsWith('out'));

test('documents become sequences; an empty one keeps its place among the documents', async () => {
  const input = file('a.jsonl', lines([{ text: 'ab' }, { text: '' }, { text: 'ü' }]));
  const [summary] = await preprocess(options([input]));
  expect(summary).toMatchObject({ key: 'text', documents: 3, emptyDocuments: 1, tokens: 6, bytes: 12, skipped: 0 });
  expect(summary?.prefix).toBe(join(folder, 'out_text_document'));
  expect(sequencesOf(join(folder, 'out_text_document'))).toEqual(['ab|', 'ü|']);
  using dataset = openIndexedDataset(join(folder, 'out_text_document'));
  expect([...dataset.documentIndex()]).toEqual([0, 1, 1, 2]);
});

test('several keys, several inputs, no end of document', async () => {
  const a = file(
    'a.jsonl',
    lines([
      { title: 'A', body: 'aa' },
      { title: 'B', body: '' },
    ]),
  );
  const b = file('b.ndjson', lines([{ title: 'C', body: 'cc' }]));
  const summaries = await preprocess(options([b, a], { jsonKeys: ['body', 'title'], appendEod: false }));
  expect(summaries.map(({ key, documents, tokens }) => [key, documents, tokens])).toEqual([
    ['body', 3, 4],
    ['title', 3, 3],
  ]);
  expect(sequencesOf(join(folder, 'out_body_document'))).toEqual(['cc', 'aa']);
  expect(sequencesOf(join(folder, 'out_title_document'))).toEqual(['C', 'A', 'B']);
});

test('plain text is one document, however long, and mixes with JSON lines', async () => {
  const text = Array.from({ length: 60_000 }, (_, i) => `word${i}`).join(' ');
  const long = file('long.txt', text);
  const other = file('b.jsonl', lines([{ text: 'b' }]));
  for (const workers of [1, 2]) {
    await preprocess(options([long, other, long], { workers }));
    expect(sequencesOf(join(folder, 'out_text_document'))).toEqual([`${text}|`, 'b|', `${text}|`]);
  }
});

test('a tokenizer that must see the whole document sees it whole', async () => {
  // Without a pre-tokenizer every text is one unknown word: one id a text, so pieces would show.
  const model = file(
    'tokenizer.json',
    JSON.stringify({
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
      model: {
        type: 'WordPiece',
        vocab: { unknown: 0, known: 1 },
        unk_token: 'unknown',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
      },
    }),
  );
  const long = file('long.txt', 'some words '.repeat(60_000));
  for (const workers of [1, 2]) {
    const tokenizer = { type: 'HuggingFaceTokenizer', tokenizerModel: model } as const;
    const [summary] = await preprocess(options([long, long], { tokenizer, appendEod: false, workers }));
    expect(summary).toMatchObject({ documents: 2, tokens: 2 });
  }
});

describe('the output is the same for every number of threads', () => {
  test('with invalid lines skipped and counted', async () => {
    const documents = Array.from({ length: 4000 }, (_, i) => ({ text: `${i} `.repeat(1 + (i % 100)) }));
    const content = lines(documents).split('\n');
    content.splice(1000, 0, '{"text": 5}', 'not JSON', '');
    content.splice(3000, 0, '{"body": "no text"}');
    const input = file('a.jsonl', content.join('\n'));
    const results: unknown[] = [];
    for (const workers of [1, 2, 5]) {
      const invalid: number[] = [];
      let progress = 0;
      const [summary] = await preprocess(
        options([input], {
          workers,
          skipInvalid: true,
          onInvalid: ({ lineNumber }) => invalid.push(lineNumber),
          onProgress: ({ bytesRead, totalBytes, documents: done }) => {
            expect(bytesRead).toBeGreaterThan(progress);
            progress = bytesRead;
            expect(totalBytes).toBe(Buffer.byteLength(content.join('\n')));
            expect(done).toBeGreaterThan(0);
          },
        }),
      );
      expect(summary).toMatchObject({ documents: 4000, skipped: 3 });
      expect(invalid).toEqual([1001, 1002, 3001]);
      expect(progress).toBe(summary?.inputBytes);
      results.push(
        ['bin', 'idx'].map((ending) => readFileSync(join(folder, `out_text_document.${ending}`)).toString('hex')),
      );
    }
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
  });

  test('and so is the error, which is the first of the input', async () => {
    const documents = Array.from({ length: 6000 }, () => JSON.stringify({ text: 'x'.repeat(200) }));
    documents[5900] = '{"text": 1}';
    documents[2500] = '{"text": ';
    const input = file('a.jsonl', documents.join('\n'));
    for (const workers of [1, 3]) {
      const error: unknown = await preprocess(options([input], { workers })).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(DataError);
      expect((error as DataError).message).toMatch(/a\.jsonl:2501: not JSON/);
      expect((error as DataError).remedy).toContain('--skip-invalid');
      expect(outputs()).toEqual([]);
    }
  });
});

describe('a failure leaves what existed', () => {
  const old = async () => {
    await preprocess(options([file('old.jsonl', lines([{ text: 'old' }]))]));
    return outputs().map((name) => readFileSync(join(folder, name)));
  };
  const expectOld = (before: readonly Buffer[]) => {
    expect(outputs()).toEqual(['out_text_document.bin', 'out_text_document.idx']);
    expect(outputs().map((name) => readFileSync(join(folder, name)))).toEqual(before);
  };

  test.each([1, 2])('stopped by a signal, %i thread(s)', async (workers) => {
    const before = await old();
    const input = file('a.jsonl', lines(Array.from({ length: 20_000 }, () => ({ text: 'x'.repeat(100) }))));
    const controller = new AbortController();
    const reason = new Error('stop');
    const onProgress = () => controller.abort(reason);
    await expect(preprocess(options([input], { workers, onProgress, signal: controller.signal }))).rejects.toBe(reason);
    expectOld(before);
    await expect(preprocess(options([input], { signal: controller.signal }))).rejects.toBe(reason);
    expectOld(before);
  });

  test('stopped by a signal in the midst of a block', async () => {
    const before = await old();
    // Long lines: nothing has come back from the threads when the signal does.
    const input = file('a.jsonl', lines(Array.from({ length: 12 }, () => ({ text: 'a b '.repeat(200_000) }))));
    const controller = new AbortController();
    const running = preprocess(options([input], { workers: 2, signal: controller.signal }));
    setTimeout(() => controller.abort(), 50);
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expectOld(before);
  });

  test('nothing to tokenize', async () => {
    const before = await old();
    await expect(preprocess(options([file('empty.jsonl', '\n\n'), file('empty.txt', '')]))).rejects.toThrow(
      /there is no text to tokenize/,
    );
    expectOld(before);
    // Found before the first input is read.
    const sound = file('sound.jsonl', lines([{ text: 'a' }]));
    const onProgress = () => expect.unreachable();
    await expect(preprocess(options([sound, join(folder, 'none.jsonl')], { onProgress }))).rejects.toThrow(/ENOENT/);
    await expect(preprocess(options([sound, folder], { onProgress }))).rejects.toThrow(/it is a folder/);
    expectOld(before);
  });

  test.skipIf(process.platform === 'win32').each([1, 2])('no room for the output, %i thread(s)', async (workers) => {
    const before = await old();
    const input = file('a.jsonl', lines(Array.from({ length: 20_000 }, () => ({ text: 'x'.repeat(100) }))));
    const script = `
      import { preprocess } from ${JSON.stringify(join(import.meta.dirname, 'preprocess.ts'))};
      await preprocess(${JSON.stringify(options([input], { workers }))}).then(
        () => console.log('no error'),
        (error) => console.log(error.constructor.name, error.message));`;
    const limited = 'trap "" XFSZ; ulimit -f 1024; exec "$0" --input-type=module --eval "$1"';
    const output = execFileSync('sh', ['-c', limited, process.execPath, script], { encoding: 'utf8' });
    expect(output).toMatch(/^MegatronError cannot write .*out_text_document\.bin: EFBIG/);
    expectOld(before);
  });
});

test('contradictory options are refused before anything is written', async () => {
  const input = file('a.jsonl', lines([{ text: 'a' }]));
  const text = file('b.txt', 'b');
  const vocabFile = file('vocab.txt', '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n');
  const wrong: Partial<PreprocessOptions>[] = [
    { inputs: [] },
    { jsonKeys: [] },
    { jsonKeys: ['text', 'text'] },
    { inputs: [input, text], jsonKeys: ['text', 'title'] },
    { workers: 0 },
    { workers: 1.5 },
    { tokenizer: { type: 'BertWordPieceLowerCase', vocabFile } },
  ];
  for (const change of wrong) {
    await expect(preprocess(options([input], change))).rejects.toThrow(UsageError);
    expect(outputs()).toEqual([]);
  }
});
