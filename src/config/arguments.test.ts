import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { flagName } from '../base/flag-name.ts';
import { parseArguments } from './arguments.ts';
import { flag, flagsOf } from './flag.ts';

const group = 'Model';
const flags = flagsOf(
  z.object({
    numLayers: flag(z.int().default(2), { group, help: 'layers' }),
    lr: flag(z.number().default(0.1), { group, help: 'rate' }),
    mockData: flag(z.boolean().default(false), { group, help: 'mock' }),
    prompt: flag(z.string().optional(), { group, help: 'prompt', value: 'TEXT' }),
    dataPath: flag(z.array(z.string()).readonly().optional(), { group, help: 'data', value: 'PREFIX' }),
    style: flag(z.enum(['a', 'b']).default('a'), { group, help: 'style' }),
  }),
);

const values = (...args: string[]) => parseArguments(args, flags).values;

function failure(...args: string[]): { message: string; remedy: string | undefined } {
  try {
    parseArguments(args, flags);
  } catch (error) {
    if (error instanceof UsageError) return { message: error.message, remedy: error.remedy };
    throw error;
  }
  throw new Error(`${args.join(' ')} was accepted`);
}

describe('parseArguments', () => {
  it('reads values behind the flag and behind an equals sign', () => {
    expect(values('--num-layers', '12', '--lr=1.5e-4', '--prompt=a=b', '--style', 'b')).toEqual({
      numLayers: 12,
      lr: 1.5e-4,
      prompt: 'a=b',
      style: 'b',
    });
  });

  it('reads numbers of every common form, negative ones too', () => {
    expect(['3', '-1', '+2', '.5', '2.', '1E3', '-1.5e-4'].map((word) => values('--lr', word)['lr'])).toEqual([
      3, -1, 2, 0.5, 2, 1000, -1.5e-4,
    ]);
  });

  it.each(['', 'ten', '1e999', '0x10', '1_000', 'NaN', 'Infinity', '1.2.3', ' 1'])(
    'refuses the number "%s"',
    (word) => {
      expect(failure(`--lr=${word}`).message).toBe(`--lr needs a number, not "${word}"`);
    },
  );

  it('reads switches, also turned off', () => {
    expect(values('--mock-data')).toEqual({ mockData: true });
    expect(values('--mock-data=false', '--lr', '1')).toEqual({ mockData: false, lr: 1 });
    expect(failure('--mock-data=no').message).toContain('neither true nor false');
  });

  it('reads lists up to the next flag', () => {
    expect(values('--data-path', '0.3', 'a', '0.7', 'b', '--lr', '1')).toEqual({
      dataPath: ['0.3', 'a', '0.7', 'b'],
      lr: 1,
    });
  });

  it('keeps an empty value given with an equals sign', () => {
    expect(values('--prompt=')).toEqual({ prompt: '' });
    expect(values('--prompt', '')).toEqual({ prompt: '' });
  });

  it('finds --config and --help', () => {
    expect(parseArguments(['--config', 'x.yaml', '-h'], flags)).toMatchObject({ configFile: 'x.yaml', help: true });
  });

  it('names the nearest flag for an unknown one, whatever its spelling', () => {
    expect(failure('--num-layer', '2')).toEqual({
      message: 'unknown option --num-layer',
      remedy: 'Did you mean --num-layers?',
    });
    expect(failure('--num_layers', '2').remedy).toBe('Did you mean --num-layers?');
    expect(failure('--numLayers=2').remedy).toBe('Did you mean --num-layers?');
    expect(failure('--learning-rate', '2').remedy).toBe('Did you mean --lr?');
    expect(failure('--entirely-different').remedy).toBe('See --help for the options of this command.');
  });

  it('refuses a missing value, and tells how to write one that begins with dashes', () => {
    expect(failure('--prompt')).toEqual({ message: '--prompt needs a value', remedy: 'Write --prompt TEXT.' });
    expect(failure('--prompt', '--lr', '1').remedy).toBe(
      'Write --prompt TEXT; for a value that begins with dashes, --prompt=--lr.',
    );
    expect(failure('--data-path').message).toBe('--data-path needs a value');
    expect(failure('--config').message).toBe('--config needs a value');
  });

  it('refuses an option given twice, a stray word, and a single dash', () => {
    expect(failure('--lr', '1', '--lr', '2').message).toBe('--lr is given twice');
    expect(failure('--config', 'a', '--config', 'b').message).toBe('--config is given twice');
    expect(failure('--mock-data', 'yes').message).toBe('"yes" is no option and belongs to none');
    expect(failure('-lr', '1').remedy).toBe('Did you mean --lr?');
    expect(failure('--').message).toContain('no option');
  });
});

describe('flagName', () => {
  it("is Megatron's spelling", () => {
    expect(['numLayers', 'adamBeta1', 'exitDurationInMins', 'lr'].map(flagName)).toEqual([
      'num-layers',
      'adam-beta1',
      'exit-duration-in-mins',
      'lr',
    ]);
  });
});
