/** The demo from end to end, on the engine that every machine has, with the text of two packages. */

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listCheckpoints } from '../src/checkpoint/index.ts';
import { unigram } from '../src/cli/demo/evaluation.ts';
import { runDemo } from '../src/cli/demo/run-demo.ts';
import { InterruptedError } from '../src/cli/interrupt.ts';
import { type DemoConfig, demoCommand } from '../src/config/demo.ts';
import { createIndexedDatasetWriter, openIndexedDataset } from '../src/data/index.ts';
import { readMetrics } from '../src/train/report/index.ts';

const packages = ['zod', 'yaml'].map((name) => resolve(import.meta.dirname, '../node_modules', name));
const iterations = 6;

let root = '';
/** A finished demo; tests work on copies of it. */
let finished = '';
let firstPage = '';

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'megatron-demo-'));
  finished = join(root, 'finished');
  firstPage = (await demo(finished)).page;
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function demo(
  output: string,
  options: Partial<DemoConfig> = {},
  onWrite: (text: string) => void = () => {},
): Promise<{ page: string; notices: string }> {
  const { config } = demoCommand.configure({
    ...{ output, trainIters: iterations, device: 'reference', numThreads: 1 },
    ...options,
  });
  let page = '';
  let notices = '';
  const stdout = {
    columns: 80,
    write(text: string) {
      page += text;
      onWrite(text);
    },
  };
  const stderr = {
    write(text: string) {
      notices += text;
    },
  };
  await runDemo(config, { stdout, stderr }, packages);
  return { page, notices };
}

function copyOfFinished(name: string): string {
  const folder = join(root, name);
  cpSync(finished, folder, { recursive: true });
  return folder;
}

const losses = (folder: string): number[] =>
  readMetrics(join(folder, 'checkpoints', 'metrics.jsonl')).map(({ lmLoss }) => lmLoss);
const stageLine = (page: string, title: string): string =>
  page.split('\n').find((line) => new RegExp(`^\\d ${title} `).test(line)) ?? '';
const titles = ['Text', 'Tokenizer', 'Data', 'Model', 'Training', 'Evaluation', 'Loss curve', 'Writing'];

describe('a demo run through', () => {
  it('tells each stage on a line of at most 80 columns, and fills the folder', () => {
    for (const title of titles) expect(stageLine(firstPage, title), title).not.toBe('');
    const own = firstPage.split('\n').filter((line) => !line.startsWith('    '));
    for (const line of own.filter((text) => !text.includes(root))) expect(line.length, line).toBeLessThanOrEqual(80);
    expect(readdirSync(finished).sort()).toEqual(
      ['checkpoints', 'corpus.jsonl', 'data', 'demo.json', 'loss-curve.svg', 'samples.txt', 'tokenizer'].sort(),
    );
    expect(readFileSync(join(finished, 'loss-curve.svg'), 'utf8')).toContain('unigram');
    expect(readFileSync(join(finished, 'samples.txt'), 'utf8')).toContain('export interface');
    expect(losses(finished).at(-1)).toBeLessThan(losses(finished)[0] as number);
    expect(listCheckpoints(join(finished, 'checkpoints')).at(-1)).toMatchObject({
      iteration: iterations,
      latest: true,
    });
  });

  it('does nothing twice, and shows it all again', async () => {
    const folder = copyOfFinished('again');
    const before = readFileSync(join(folder, 'checkpoints', 'metrics.jsonl'), 'utf8');
    const { page, notices } = await demo(folder);
    for (const title of titles) expect(stageLine(page, title)).toMatch(/ unchanged$/);
    const told = (text: string): string =>
      text
        .slice(text.indexOf('8 Writing'), text.search(/Done in|All of it/))
        .replace(/.*/, '')
        .replace(/ {4}\(.*\)\n/, '');
    expect(told(page).trim()).toBe(told(firstPage).trim());
    expect(page).toContain('All of it was done before.');
    expect(page).toContain('--restart');
    expect(notices).toBe('');
    expect(readFileSync(join(folder, 'checkpoints', 'metrics.jsonl'), 'utf8')).toBe(before);
  });

  it('makes anew what other options change, says so, and keeps the former model', async () => {
    const folder = copyOfFinished('other-options');
    const { page, notices } = await demo(folder, { trainIters: iterations + 2 });
    for (const title of ['Text', 'Tokenizer', 'Data']) expect(stageLine(page, title)).toMatch(/ unchanged$/);
    for (const title of ['Training', 'Evaluation', 'Writing']) expect(stageLine(page, title)).not.toMatch(/unchanged/);
    expect(notices).toContain(`updates: ${iterations} before, ${iterations + 2} now`);
    expect(notices).toContain('checkpoints.1');
    expect(losses(folder)).toHaveLength(iterations + 2);
    expect(readMetrics(join(folder, 'checkpoints.1', 'metrics.jsonl'))).toHaveLength(iterations);
  });

  it('makes anew what was changed or lost on the disk', async () => {
    const folder = copyOfFinished('damage');
    writeFileSync(join(folder, 'tokenizer', 'merges.txt'), '#version: 0.2\n');
    rmSync(join(folder, 'loss-curve.svg'));
    const { page, notices } = await demo(folder);
    expect(notices).toContain('merges.txt was changed');
    expect(notices).toContain('loss-curve.svg is missing');
    // The same vocabulary comes out again, so nothing that follows from it changes.
    expect(stageLine(page, 'Training')).toMatch(/ unchanged$/);
    expect(existsSync(join(folder, 'loss-curve.svg'))).toBe(true);
  });

  it('trains anew where the finished training lost its figures', async () => {
    const folder = copyOfFinished('lost-metrics');
    rmSync(join(folder, 'checkpoints', 'metrics.jsonl'));
    const { notices } = await demo(folder);
    expect(notices).toContain('metrics.jsonl is missing');
    expect(notices).toContain('checkpoints.1');
    expect(losses(folder)).toEqual(losses(finished));
    expect(stageLine((await demo(folder)).page, 'Training')).toMatch(/ unchanged$/);
  });
});

describe('a demo that is stopped', () => {
  it('ends with the code of the signal, goes on from its checkpoint, and arrives at the same losses', async () => {
    const folder = join(root, 'stopped');
    const listeners = process.listenerCount('SIGINT');
    const stop = (text: string): void => {
      if (text.includes(`updates: ${iterations},`)) process.emit('SIGINT');
    };
    const stopped = demo(folder, {}, stop);
    await expect(stopped).rejects.toBeInstanceOf(InterruptedError);
    await expect(stopped).rejects.toMatchObject({ exitCode: 130, remedy: expect.stringContaining('same command') });
    expect(process.listenerCount('SIGINT')).toBe(listeners);

    let started = false;
    await expect(
      demo(folder, {}, (text) => {
        if (!started && text.startsWith('4 Model')) setTimeout(() => process.emit('SIGTERM'), 50);
        started ||= text.startsWith('4 Model');
      }),
    ).rejects.toMatchObject({ exitCode: 143 });
    const [reached] = listCheckpoints(join(folder, 'checkpoints')).filter(({ latest }) => latest);
    expect(reached?.iteration).toBeGreaterThan(0);
    expect(reached?.iteration).toBeLessThan(iterations);

    const { notices } = await demo(folder);
    expect(notices).toContain(`going on after update ${reached?.iteration}`);
    expect(losses(folder)).toEqual(losses(finished));
    expect(readFileSync(join(folder, 'samples.txt'), 'utf8')).toBe(readFileSync(join(finished, 'samples.txt'), 'utf8'));
  });

  it('by its own limit, because the machine became slower, says so and shows what there is', async () => {
    const folder = join(root, 'slow');
    const stop = (text: string): void => {
      if (text.includes(`updates: ${iterations},`)) process.emit('SIGINT');
    };
    await expect(demo(folder, {}, stop)).rejects.toBeInstanceOf(InterruptedError);
    rmSync(join(folder, 'checkpoints'), { recursive: true, force: true });
    const record = readFileSync(join(folder, 'demo.json'), 'utf8');
    expect(record).toContain('"mostMinutes": 0');
    writeFileSync(join(folder, 'demo.json'), record.replace('"mostMinutes": 0', '"mostMinutes": 0.00001'));
    const { page, notices } = await demo(folder);
    expect(notices).toContain('stopped after update 1: this machine became slower');
    expect(stageLine(page, 'Writing')).not.toBe('');
    expect(stageLine((await demo(folder)).page, 'Training')).toMatch(/ unchanged$/);
  });

  it('goes on from the last sound checkpoint where the latest is damaged, and says so', async () => {
    const folder = copyOfFinished('damaged-checkpoint');
    const latest = listCheckpoints(join(folder, 'checkpoints')).at(-1);
    rmSync(join(latest?.folder ?? '', 'manifest.json'));
    const { notices } = await demo(folder);
    expect(notices).toContain(`the checkpoint of update ${iterations} is damaged`);
    expect(notices).toContain(`going on after update ${iterations - 1}`);
    expect(losses(folder)).toEqual(losses(finished));
  });
});

describe("the demo's folder", () => {
  it('is never one that holds other files', async () => {
    const folder = join(root, 'foreign');
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'years of work');
    for (const restart of [false, true]) {
      await expect(demo(folder, { restart })).rejects.toThrow(/holds files that are not a demo's/);
    }
    expect(readdirSync(folder)).toEqual(['thesis.txt']);
  });

  it('is emptied of what the demo made, and of nothing else, with --restart', async () => {
    const folder = copyOfFinished('restart');
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    const stop = (text: string): void => {
      if (text.startsWith('1 Text')) process.emit('SIGINT');
    };
    await expect(demo(folder, { restart: true }, stop)).rejects.toBeInstanceOf(InterruptedError);
    expect(readdirSync(folder).sort()).toEqual(['corpus.jsonl', 'demo.json', 'notes.txt']);
  });

  it('with a damaged record is an error that says what to do', async () => {
    const folder = copyOfFinished('damaged-record');
    writeFileSync(join(folder, 'demo.json'), '{"formatVersion": 1, "stag');
    await expect(demo(folder)).rejects.toMatchObject({ remedy: expect.stringContaining('--restart') });
    expect(existsSync(join(folder, 'checkpoints'))).toBe(true);
  });
});

it('refuses to learn from next to nothing', async () => {
  const { config } = demoCommand.configure({ output: join(root, 'empty'), device: 'reference' });
  const stream = { write: () => {} };
  await expect(runDemo(config, { stdout: stream, stderr: stream }, [join(root, 'nowhere')])).rejects.toThrow(
    /too little text/,
  );
});

it('counts unigrams with add-one smoothing over the training documents alone', () => {
  const prefix = join(root, 'counts');
  {
    using writer = createIndexedDatasetWriter(prefix, 'uint16');
    for (const tokens of [
      [0, 1, 1],
      [1, 2],
      [3, 3, 3],
    ]) {
      writer.append(Uint16Array.from(tokens));
      writer.endSequence();
      writer.endDocument();
    }
    writer.finish();
  }
  using indexed = openIndexedDataset(prefix);
  const probabilities = [...unigram(indexed, 2, 4)].map(Math.exp);
  // Two documents of 5 tokens: counts 1, 3, 1, 0.
  expect(probabilities.map((p) => Math.round(p * 9))).toEqual([2, 4, 2, 1]);
  expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
});
