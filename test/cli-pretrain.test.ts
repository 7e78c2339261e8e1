/** What `megatron pretrain gpt` refuses: with which exit code and words, and that nothing that existed is lost. */

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/checkpoint/index.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { type Finished, megatron } from './support/command.ts';
import { metricsOf, type RunOptions, tinyArguments } from './support/tiny-run.ts';
import { tinyText } from './support/tiny-text.ts';

const run = (options: RunOptions): Promise<Finished> => megatron(tinyArguments({ trainIters: 4, ...options }));

/** Every file below a folder with its content. */
function filesOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map(({ parentPath, name }) => [join(parentPath, name), readFileSync(join(parentPath, name), 'base64')]),
  );
}

/** One clear message, and not a word of a stack. */
function expectRefusal({ code, stderr }: Finished, expectedCode: number, ...words: (string | RegExp)[]): void {
  for (const word of words) expect(stderr).toMatch(word);
  expect(stderr).not.toMatch(/^ +at |unexpected error/m);
  expect(code, stderr).toBe(expectedCode);
}

let folder: ReturnType<typeof temporaryFolder>;
let text: string;
/** A folder with the checkpoints 2 and 4 of a run on mock data. */
let save: string;

beforeAll(async () => {
  folder = temporaryFolder();
  text = await tinyText(folder.path);
  save = join(folder.path, 'run');
  expect(await run({ save, saveInterval: 2 })).toMatchObject({ code: 0 });
});
afterAll(() => folder[Symbol.dispose]());

/** Fails when anything in the folder of the run has changed. */
async function untouched(body: () => Promise<void>): Promise<void> {
  const before = filesOf(save);
  await body();
  expect(filesOf(save)).toEqual(before);
}

describe('ranks on threads', () => {
  it('write where the command does', async () => {
    const { code, stdout, stderr } = await run({ trainIters: 2, nprocPerNode: 2 });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^ \[.*\] iteration +2\/ +2 \|/m);
    expect(stderr).toContain('training finished: iteration 2');
  });
});

describe('a --save folder that holds another run', () => {
  it('is refused to a new run, which says how to go on', () =>
    untouched(async () => {
      expectRefusal(await run({ save }), 1, `${save} already holds checkpoints of a run`, `Use --load ${save}`);
    }));

  it('is refused to a run that goes on from elsewhere', async () => {
    const other = join(folder.path, 'other');
    expect(await run({ save: other, seed: 9 })).toMatchObject({ code: 0 });
    await untouched(async () => {
      expectRefusal(await run({ save, load: other }), 1, `${save} already holds checkpoints of another run`);
    });
  });

  it('is no folder at all', async () => {
    const file = join(folder.path, 'a file');
    writeFileSync(file, 'mine');
    expectRefusal(await run({ save: file }), 1, file);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });
});

describe('--load', () => {
  it('of another architecture lists every difference', () =>
    untouched(async () => {
      const other = { numLayers: 3, hiddenSize: 24, numAttentionHeads: 3, layernormEpsilon: 1e-6, openaiGelu: true };
      expectRefusal(
        await run({ save, load: save, vocabSize: 99, maxPositionEmbeddings: 20, ...other }),
        1,
        'is of another model',
        'num-layers: checkpoint 2, command line 3',
        'hidden-size: checkpoint 16, command line 24',
        'num-attention-heads: checkpoint 2, command line 3',
        'max-position-embeddings: checkpoint 16, command line 20',
        'vocab-size: checkpoint 67, command line 99',
        'layernorm-epsilon: checkpoint 0.00001, command line 0.000001',
        'gelu: checkpoint erf, command line tanh',
      );
    }));

  it('takes another padding, batch, dropout and learning rate', async () => {
    const other = { makeVocabSizeDivisibleBy: 50, microBatchSize: 4, hiddenDropout: 0, lr: 0.001, trainIters: 5 };
    const { code, stderr } = await run({ load: save, ...other });
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain('note:');
  });

  it('says when the data would come in another order', async () => {
    const { code, stderr } = await run({ load: save, seed: 7, trainIters: 5 });
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/note: data may not come as .*: seed: checkpoint 1234, command line 7$/m);
  });

  it('of a model trained with another tokenizer is refused', async () => {
    const bytes = { mockData: undefined, vocabSize: undefined, dataPath: text, tokenizerType: 'ByteLevel', split: 1 };
    const trained = join(folder.path, 'bytes');
    expect(await run({ ...bytes, save: trained })).toMatchObject({ code: 0 });
    const before = filesOf(trained);
    const other = { ...bytes, tokenizerType: 'GPT2BPETokenizer', save: trained, load: trained };
    expectRefusal(await run(other), 1, 'was trained with another tokenizer (ByteLevel, 257 tokens)');
    const none = { ...bytes, tokenizerType: undefined, vocabSize: 257, save: trained, load: trained };
    expectRefusal(await run(none), 1, 'has a tokenizer, and --vocab-size says there is none');
    expect(filesOf(trained)).toEqual(before);
  });

  it('of a folder that is missing or empty is no silent fresh start', async () => {
    const missing = join(folder.path, 'nothing here');
    expectRefusal(await run({ load: missing, save: missing }), 1, `there is no checkpoint folder ${missing}`, '--load');
    mkdirSync(missing);
    expectRefusal(await run({ load: missing, save: missing }), 1, 'latest_checkpointed_iteration.txt');
    expect(readdirSync(missing)).toEqual([]);
  });

  it('of a damaged checkpoint names the one that still loads', async () => {
    const damaged = join(folder.path, 'damaged');
    expect(await run({ save: damaged, saveInterval: 2 })).toMatchObject({ code: 0 });
    const whole = metricsOf(damaged);
    const path = join(damaged, 'iter_0000004', 'optimizer-00000-of-00001.safetensors');
    const bytes = readFileSync(path);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const before = filesOf(damaged);
    const remedy = `--load ${join(damaged, 'iter_0000002')}`;
    expectRefusal(await run({ load: damaged, save: damaged }), 1, 'is damaged', 'SHA-256', 'Still loadable', remedy);
    expect(filesOf(damaged)).toEqual(before);
    const [, load = ''] = remedy.split(' ');
    expect(await run({ load, save: damaged, saveInterval: 2 })).toMatchObject({ code: 0 });
    expect(metricsOf(damaged)).toEqual(whole);
  });
});

describe('data', () => {
  const real = (): RunOptions => ({
    mockData: undefined,
    vocabSize: undefined,
    dataPath: text,
    tokenizerType: 'ByteLevel',
  });

  it('of an empty split is refused before the first iteration', async () => {
    const refused = await run({ ...real(), split: '100,0,0', evalIters: 1 });
    expectRefusal(refused, 1, /the valid split of .* is empty/, '--split');
    expect(refused.stdout).not.toContain('iteration');
    expectRefusal(await run({ ...real(), split: '0,1,1' }), 2, 'leaves nothing to train on');
  });

  it('with an id beyond the vocabulary is refused by document and token', async () => {
    const refused = await run({ mockData: undefined, dataPath: text, vocabSize: 100, split: '1' });
    expectRefusal(refused, 1, /document \d+ has the id \d+ at token \d+, but the vocabulary has 100 ids/);
  });

  it('that is missing is refused by path', async () => {
    const missing = join(folder.path, 'missing');
    expectRefusal(await run({ ...real(), dataPath: missing }), 1, missing);
  });

  it('without documents cannot mask them', async () => {
    for (const option of ['eodMaskLoss', 'resetPositionIds', 'resetAttentionMask']) {
      expectRefusal(await run({ [option]: true }), 2, 'end-of-document token');
    }
  });
});

describe('a run that diverges', () => {
  it('stops with the last checkpoint intact', async () => {
    const diverging = join(folder.path, 'diverging');
    const refused = await run({ save: diverging, saveInterval: 1, lr: 1e20, lrDecayStyle: 'constant', trainIters: 50 });
    expectRefusal(refused, 1, /training diverged: loss \S+, gradient norm (NaN|Infinity)/, '--lr');
    using checkpoint = openCheckpoint(diverging);
    checkpoint.verify();
    const { iteration } = checkpoint.manifest;
    expect(iteration).toBeGreaterThanOrEqual(1);
    expect(iteration).toBeLessThan(50);
    // every line that is there is of a real update
    expect(metricsOf(diverging).map((line) => line.iteration)).toEqual(
      Array.from({ length: iteration }, (_, i) => i + 1),
    );
  });
});

describe('wrong usage', () => {
  it.each([
    [{ numLayer: 3 }, '--num-layers'],
    [{ hiddenSize: 15 }, 'cannot be shared equally'],
    [{ globalBatchSize: 3 }, 'is no multiple of --micro-batch-size'],
    [{ mockData: undefined }, 'there is no data to train on'],
    [{ hiddenDropout: 1 }, '--hidden-dropout'],
    [{ lr: 'fast' }, '--lr'],
  ])('%o exits with 2', async (options, word) => {
    expectRefusal(await run(options), 2, word);
  });
});

describe('the tokenizer in a checkpoint', () => {
  it('may come from files of any name', { timeout: 120_000 }, async () => {
    const plain = join(folder.path, 'tokenizer');
    const input = join(folder.path, 'text.jsonl');
    expect(
      await megatron(['train-tokenizer', '--input', input, '--vocab-size', '280', '--output', plain]),
    ).toMatchObject({ code: 0 });
    // both named alike, in folders of their own, with letters that no flag would have
    const [vocabFile, mergeFile] = ['ä vocab', 'ä merges'].map((name) => {
      mkdirSync(join(folder.path, name));
      return join(folder.path, name, 'my gpt2 (1).TXT');
    }) as [string, string];
    copyFileSync(join(plain, 'vocab.json'), vocabFile);
    copyFileSync(join(plain, 'merges.txt'), mergeFile);
    const prefix = join(folder.path, 'bpe');
    const files = ['--vocab-file', vocabFile, '--merge-file', mergeFile];
    expect(
      await megatron([
        'preprocess',
        '--input',
        input,
        ...files,
        '--append-eod',
        '--output-prefix',
        prefix,
        '--workers',
        '1',
      ]),
    ).toMatchObject({ code: 0 });
    const trained = join(folder.path, 'bpe run');
    const result = await run({
      mockData: undefined,
      vocabSize: undefined,
      dataPath: `${prefix}_text_document`,
      split: 1,
      vocabFile,
      mergeFile,
      save: trained,
    });
    expect(result.code, result.stderr).toBe(0);
    const written = await megatron(['generate', '--load', trained, '--prompt', 'Käse', '--tokens-to-generate', '3']);
    expect(written.code, written.stderr).toBe(0);
    expect(written.stdout).toMatch(/^Käse/);
  });
});

describe('what a run prints', () => {
  it('are its arguments by flag, a line in Megatron’s form for each logged iteration, and the end', async () => {
    const { code, stdout, stderr } = await run({ evalIters: 1, evalInterval: 2, trainIters: 4 });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/^ {2}adam-beta1 \.+ 0\.9$/m);
    expect(stdout).toMatch(/^ {2}hidden-size \.+ 16$/m);
    const logLine =
      / iteration {8}4\/ {7}4 \| consumed samples: {11}16 \| elapsed time per iteration \(ms\): [\d.]+ \| model TFLOP\/s \(causal matmul\): [\d.]+ \| PaLM TFLOP\/s \(6N\+12Lhs\): [\d.]+ \| tokens\/s: [\d.]+ \| learning rate: \d\.\d+E[+-]\d\d \| global batch size: {5}4 \| lm loss: \d\.\d+E[+-]\d\d \| loss scale: 1\.0 \| grad norm: [\d.]+ \|/;
    expect(stdout).toMatch(logLine);
    expect(stdout).toMatch(/ validation loss at iteration 2 \| lm loss value: /);
    expect(stdout).toMatch(/ validation loss at the end of training for test data \| lm loss value: /);
    expect(stderr).toContain('training finished: iteration 4');
  });
});
