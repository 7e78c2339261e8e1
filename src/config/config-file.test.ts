import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../base/errors.ts';
import { parseCommandLine } from './command.ts';
import { parseConfig, readConfigFile } from './config-file.ts';
import { pretrainGptCommand } from './pretrain-gpt.ts';

const { flags } = pretrainGptCommand;
const parse = (text: string) => parseConfig(text, 'run.yaml', flags);

function failure(text: string): string {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof UsageError) return `${error.message} | ${error.remedy ?? ''}`;
    throw error;
  }
  throw new Error('the file was accepted');
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-config-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('parseConfig', () => {
  it('reads every kind of value', () => {
    const text =
      'num-layers: 12\nlr: 1e-3\nmin-lr: "1e-4"\nmock-data: true\nsplit: 969,30,1\nlr-decay-style: linear\ndata-path: [0.3, a, 0.7, b]\nsave: 2024\n';
    expect(parse(text)).toEqual({
      numLayers: 12,
      lr: 1e-3,
      minLr: 1e-4,
      mockData: true,
      split: '969,30,1',
      lrDecayStyle: 'linear',
      dataPath: ['0.3', 'a', '0.7', 'b'],
      save: '2024',
    });
    expect(parse('data-path: one\n')).toEqual({ dataPath: ['one'] });
    expect(parse('data-path:\n  - 1\n  - two\n')).toEqual({ dataPath: ['1', 'two'] });
    expect(parse('# nothing\n')).toEqual({});
  });

  it('puts what an alias stands for in its place', () => {
    expect(parse('lr: &x 1e-3\nmin-lr: *x\n')).toEqual({ lr: 1e-3, minLr: 1e-3 });
    expect(parse('data-path: [&a one, *a]\n')).toEqual({ dataPath: ['one', 'one'] });
    expect(failure('lr: 1\nmin-lr: *y\n')).toMatch(/^run\.yaml:2: .*y/);
  });

  it('names file, line and fix of what is wrong', () => {
    expect(failure('num-layers: 2\nhiden-size: 3\n')).toBe(
      'run.yaml:2: unknown key "hiden-size" | Did you mean "hidden-size"?',
    );
    expect(failure('numLayers: 2\n')).toContain('Did you mean "num-layers"?');
    expect(failure('--num-layers: 2\n')).toContain('Did you mean "num-layers"?');
    expect(failure('\nmock-data: yes\n')).toContain('run.yaml:2: mock-data needs true or false, not "yes"');
    expect(failure('lr: fast\n')).toContain('run.yaml:1: lr needs a number, not "fast"');
    expect(failure('lr: .inf\n')).toContain('lr needs a number');
    expect(failure('lr:\n')).toContain('remove the line');
    expect(failure('save: [a]\n')).toContain('save needs a word');
    expect(failure('data-path: {a: 1}\n')).toContain('data-path needs a list of words');
    expect(failure('lr: 1\nlr: 2\n')).toMatch(/^run\.yaml:2: .*unique/);
    expect(failure('lr: [1\n')).toMatch(/^run\.yaml:\d: /);
    expect(failure('- lr\n')).toContain('key: value');
  });

  it('reports a file that is not there as wrong usage', () => {
    const path = join(folder, 'none.yaml');
    expect(() => readConfigFile(path, flags)).toThrow(UsageError);
    expect(() => readConfigFile(path, flags)).toThrow(path);
  });
});

describe('--config', () => {
  it('is overruled by flags, and itself overrules defaults', () => {
    const path = join(folder, 'run.yaml');
    writeFileSync(path, 'mock-data: true\nnum-layers: 6\nhidden-size: 512\nnum-attention-heads: 8\n');
    const line = parseCommandLine(pretrainGptCommand, ['--num-layers', '3', '--config', path]);
    if (line.help) throw new Error('help was not asked for');
    expect(line.config).toMatchObject({ mockData: true, numLayers: 3, hiddenSize: 512, seqLength: 1024 });
    expect([...line.given].sort()).toEqual(['hiddenSize', 'mockData', 'numAttentionHeads', 'numLayers']);
  });
});
