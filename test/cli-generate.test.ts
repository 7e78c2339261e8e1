/** `megatron generate`: a checkpoint alone is enough to write, and what cannot be loaded is said in one message. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { megatron } from './support/command.ts';
import { runTiny } from './support/tiny-run.ts';
import { line, tinyText } from './support/tiny-text.ts';

let folder: ReturnType<typeof temporaryFolder>;
/** A model that has learnt `line` by heart. */
let trained: string;

beforeAll(async () => {
  folder = temporaryFolder();
  const dataPath = await tinyText(folder.path);
  trained = join(folder.path, 'moved');
  const save = join(folder.path, 'trained');
  const run = await runTiny({
    ...{
      mockData: undefined,
      vocabSize: undefined,
      dataPath,
      tokenizerType: 'ByteLevel',
      split: 1,
      save,
      saveInterval: 100,
    },
    ...{
      numLayers: 1,
      hiddenSize: 32,
      seqLength: 48,
      maxPositionEmbeddings: 96,
      microBatchSize: 4,
      globalBatchSize: 4,
    },
    ...{ trainIters: 200, logInterval: 200, hiddenDropout: 0, attentionDropout: 0, resetPositionIds: true },
  });
  expect(run.losses.at(-1)).toBeLessThan(0.2);
  // what a checkpoint needs is in its own folder
  renameSync(save, trained);
});
afterAll(() => folder[Symbol.dispose]());

const generate = (...args: string[]) => megatron(['generate', '--load', trained, '--num-threads', '1', ...args]);

/** Each byte is a token. */
const bytesOf = (text: string): number => Buffer.byteLength(text);

describe('megatron generate', () => {
  it.each(['--bf16', '--fp16'])('writes in 16 bits what it has learnt by heart: %s', async (flag) => {
    const prompt = 'Ein naïver';
    const count = String(bytesOf(line.slice(prompt.length)));
    const { code, stdout, stderr } = await generate(
      '--prompt',
      prompt,
      '--greedy',
      '--tokens-to-generate',
      count,
      flag,
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toBe(`${line}\n`);
  });

  it('needs nothing but the checkpoint, and writes letters of several bytes whole', async () => {
    const prompt = 'Ein naïver';
    const rest = line.slice(prompt.length);
    const { code, stdout, stderr, pieces } = await generate(
      ...['--prompt', prompt, '--greedy', '--tokens-to-generate', String(bytesOf(rest))],
    );
    expect(code, stderr).toBe(0);
    expect(stdout).toBe(`${line}\n`);
    // it streams: a piece for each token, and none holds half a letter
    expect(pieces.length).toBeGreaterThanOrEqual(bytesOf(rest));
    for (const piece of pieces) expect(piece).not.toContain('\uFFFD');
    expect(pieces.slice(1, -1).filter((piece) => piece !== '')).toEqual([...rest]);
  });

  it('shows a letter that was cut off by the end as a replacement character', async () => {
    const start = line.slice(0, line.indexOf('😀'));
    const { stdout } = await generate('--prompt', start, '--greedy', '--tokens-to-generate', '2');
    expect(stdout).toBe(`${start}\uFFFD\n`);
  });

  it('writes the same for the same seed, and another text for another', async () => {
    const hot = ['--prompt', 'Ein', '--temperature', '3', '--tokens-to-generate', '40'];
    const [first, again, other] = [
      await generate(...hot),
      await generate(...hot),
      await generate(...hot, '--seed', '7'),
    ];
    expect(again.stdout).toBe(first.stdout);
    expect(other.stdout).not.toBe(first.stdout);
    const several = await generate(...hot, '--num-samples', '2');
    expect(several.stdout).toMatch(/^--- sample 1 of 2\nEin/);
    const [, one, two] = several.stdout.split(/\n?--- sample \d of 2\n/);
    expect(one).toBe(first.stdout);
    expect(two).not.toBe(one);
  });

  it('begins a document without a prompt, and ends with the document', async () => {
    const { code, stdout } = await generate('--greedy', '--tokens-to-generate', '500');
    expect(code).toBe(0);
    expect(stdout.startsWith(line)).toBe(true);
  });

  it('says when the positions of the model end the text', async () => {
    const { stderr } = await generate('--prompt', line, '--greedy', '--tokens-to-generate', '500');
    const written = 96 - bytesOf(line) + 1;
    expect(stderr).toContain(`stopped after ${written} tokens: the model has 96 positions`);
    const enough = await generate('--prompt', line, '--greedy', '--tokens-to-generate', '10');
    expect(enough.stderr).not.toContain('stopped');
  });

  it('refuses a prompt that is longer than the positions', async () => {
    const { code, stderr } = await generate('--prompt', 'a'.repeat(97));
    expect([code, stderr]).toEqual([2, expect.stringContaining('97 tokens, the model 96 positions')]);
  });

  it('takes the tokenizer it was trained with, and refuses another', async () => {
    const greedy = ['--prompt', 'Ein', '--greedy', '--tokens-to-generate', '4'];
    const same = await generate(...greedy, '--tokenizer-type', 'ByteLevel');
    expect(same.stdout).toBe((await generate(...greedy)).stdout);
    const { code, stderr } = await generate(...greedy, '--tokenizer-type', 'GPT2BPETokenizer');
    expect([code, stderr]).toEqual([1, expect.stringContaining('was trained with another tokenizer')]);
  });
});

describe('megatron generate on two ranks', () => {
  const onTwo = (...args: string[]) => generate('--tensor-model-parallel-size', '2', ...args);

  it('streams the text of one rank, letter by letter', async () => {
    const greedy = ['--prompt', 'Ein naïver', '--greedy', '--tokens-to-generate', '40'];
    const [one, two] = [await generate(...greedy), await onTwo(...greedy, '--debug-collectives')];
    expect(two.code, two.stderr).toBe(0);
    expect(two.stdout).toBe(one.stdout);
    expect(two.pieces).toEqual(one.pieces);
  });

  it('draws the same tokens, sample after sample, and says where the positions end', async () => {
    const drawn = ['--prompt', line, '--temperature', '0.8', '--num-samples', '2', '--tokens-to-generate', '500'];
    const [one, two] = [await generate(...drawn), await onTwo(...drawn)];
    expect(two.stdout).toBe(one.stdout);
    expect(two.stderr).toBe(one.stderr);
  });

  it('refuses what one rank refuses, and a model that cannot be split', async () => {
    const { code, stderr } = await onTwo('--prompt', 'a'.repeat(97));
    expect([code, stderr]).toEqual([2, expect.stringContaining('97 tokens, the model 96 positions')]);
    const three = await generate('--tensor-model-parallel-size', '3', '--prompt', 'Ein');
    expect(three).toMatchObject({ code: 2, stdout: '' });
    expect(three.stderr).toContain('cannot be split over 3 ranks\n--tensor-model-parallel-size can be 1, 2.');
  });

  it('says which rank found the checkpoint damaged or missing', async () => {
    const load = join(folder.path, 'no');
    const { code, stderr } = await megatron(['generate', '--load', load, '--tensor-model-parallel-size', '2']);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/rank \d failed: there is no checkpoint folder/)]);
  });
});

describe('a checkpoint that cannot write', () => {
  const load = async (path: string) => {
    const { code, stderr, stdout } = await megatron(['generate', '--load', path, '--prompt', 'x']);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).not.toMatch(/^ +at |unexpected error/m);
    return stderr;
  };

  it('is missing', async () => {
    expect(await load(join(folder.path, 'no'))).toContain(`there is no checkpoint folder ${join(folder.path, 'no')}`);
    expect(await load(join(trained, 'iter_0000007'))).toMatch(/Still loadable in .*: 100, 200/);
  });

  it('is damaged: the message names the one that still loads', async () => {
    const path = join(trained, 'iter_0000200', 'model-00000-of-00001.safetensors');
    const whole = readFileSync(path);
    const damaged = Buffer.from(whole);
    damaged[1000] = (damaged[1000] ?? 0) ^ 0xff;
    for (const bytes of [damaged, whole.subarray(0, -1)]) {
      writeFileSync(path, bytes);
      expect(await load(trained)).toContain(`--load ${join(trained, 'iter_0000100')}`);
    }
    const earlier = await megatron([
      'generate',
      '--load',
      join(trained, 'iter_0000100'),
      '--prompt',
      'Ein',
      '--greedy',
    ]);
    expect(earlier.code).toBe(0);
    writeFileSync(path, whole);
  });

  it('has no tokenizer', async () => {
    const save = join(folder.path, 'no tokenizer');
    await runTiny({ trainIters: 1, save });
    expect(await load(save)).toMatch(/carries no tokenizer\nGive --tokenizer-type/);
  });
});
