import { describe, expect, it } from 'vitest';
import { type Command, parseCommandLine } from './command.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor.ts';
import { generateCommand } from './generate.ts';
import { commandHelp, wrap } from './help.ts';
import { preprocessCommand } from './preprocess.ts';
import { pretrainGptCommand } from './pretrain-gpt.ts';
import { trainTokenizerCommand } from './train-tokenizer.ts';

function configOf<Config>(command: Command<Config>, ...args: string[]): Config {
  const line = parseCommandLine(command, args);
  if (line.help) throw new Error('help was not asked for');
  return line.config;
}

describe('generate', () => {
  it('has defaults, and needs a checkpoint', () => {
    expect(configOf(generateCommand, '--load', 'd')).toMatchObject({
      load: 'd',
      tokensToGenerate: 64,
      numSamples: 1,
      greedy: false,
      temperature: 1,
      topK: 0,
      topP: 0,
      seed: 1234,
    });
    expect(() => configOf(generateCommand, '--prompt', 'x')).toThrow('--load DIR is missing');
  });

  it('refuses contradictions', () => {
    expect(() => configOf(generateCommand, '--load', 'd', '--greedy', '--top-p', '0.9')).toThrow(
      '--greedy and --top-p contradict each other',
    );
    expect(() => configOf(generateCommand, '--load', 'd', '--vocab-file', 'v')).toThrow(
      '--vocab-file needs --tokenizer-type',
    );
    expect(() => configOf(generateCommand, '--load', 'd', '--top-p', '1.5')).toThrow('--top-p must be at most 1');
    expect(() => configOf(generateCommand, '--load', 'd', '--temperature', '0')).toThrow(
      '--temperature must be more than 0',
    );
  });
});

describe('preprocess', () => {
  it('has defaults, and needs input and output', () => {
    expect(configOf(preprocessCommand, '--input', 'a.jsonl', 'b.txt', '--output-prefix', 'p')).toMatchObject({
      input: ['a.jsonl', 'b.txt'],
      jsonKeys: ['text'],
      outputPrefix: 'p',
      appendEod: false,
      skipInvalid: false,
      tokenizerType: 'GPT2BPETokenizer',
    });
    expect(() => configOf(preprocessCommand)).toThrow(/--input FILE is missing\n--output-prefix PREFIX is missing/);
    expect(() => configOf(preprocessCommand, '--input', 'a', '--output-prefix', 'p', '--json-keys', 'x', 'x')).toThrow(
      'twice',
    );
  });
});

describe('train-tokenizer, doctor, demo', () => {
  it('have defaults', () => {
    expect(configOf(trainTokenizerCommand, '--input', 'a', '--output', 'd')).toMatchObject({
      vocabSize: 50_257,
      minFrequency: 2,
    });
    expect(configOf(doctorCommand, '--json')).toEqual({ json: true, debug: false });
    expect(configOf(demoCommand)).toMatchObject({
      output: 'demo-output',
      restart: false,
      device: 'auto',
    });
  });

  it('refuse a vocabulary that cannot hold the bytes', () => {
    expect(() => configOf(trainTokenizerCommand, '--input', 'a', '--output', 'd', '--vocab-size', '256')).toThrow(
      'at least 257',
    );
  });
});

describe('commandHelp', () => {
  const all: readonly Command<unknown>[] = [
    demoCommand,
    doctorCommand,
    generateCommand,
    preprocessCommand,
    pretrainGptCommand,
    trainTokenizerCommand,
  ];

  it.each(all.map((command) => [command.name, command] as const))(
    'of %s names every flag once and fits the terminal',
    (_, command) => {
      for (const columns of [60, 80, 100, 300]) {
        const help = commandHelp(command, columns);
        for (const { name } of command.flags) {
          expect(help.match(new RegExp(`^  --${name}( |$)`, 'gm'))).toHaveLength(1);
        }
        const body = help.slice(0, help.indexOf('\nExamples:'));
        for (const line of body.split('\n')) expect(line.length).toBeLessThanOrEqual(Math.min(columns, 110));
      }
    },
  );

  it('groups by topic, with defaults, choices and what is required', () => {
    const help = commandHelp(pretrainGptCommand, 100);
    const topics = [...help.matchAll(/^([A-Z][a-z ]+):$/gm)].map((match) => match[1]);
    expect(topics).toEqual([
      'Model',
      'Training',
      'Precision',
      'Parallelism',
      'Memory',
      'Learning rate',
      'Data',
      'Tokenizer',
      'Evaluation',
      'Output',
      'Profiling',
      'Engine',
      'General',
      'Examples',
    ]);
    expect(help).toMatch(/--num-layers N +transformer layers \(default: 24\)/);
    expect(help.replace(/\s+/g, ' ')).toContain(
      '(constant, linear, cosine, inverse-square-root, WSD; default: cosine)',
    );
    expect(commandHelp(generateCommand, 100)).toContain('Usage: megatron generate --load DIR [options]');
    expect(commandHelp(preprocessCommand, 100).replace(/\s+/g, ' ')).toContain('for every key (required)');
  });

  it('is given without a check of the other options', () => {
    expect(parseCommandLine(generateCommand, ['--nonsense', '--help'])).toEqual({ help: true });
  });
});

describe('wrap', () => {
  it('breaks between words and never inside one', () => {
    expect(wrap('one two three', 7, 2)).toEqual(['one two', '  three']);
    expect(wrap('extraordinarily', 5, 0)).toEqual(['extraordinarily']);
  });
});
