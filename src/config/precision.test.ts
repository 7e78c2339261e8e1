import { describe, expect, it } from 'vitest';
import { parseCommandLine } from './command.ts';
import { generateCommand } from './generate.ts';
import { pretrainGptCommand } from './pretrain-gpt.ts';

function pretrain(...args: string[]) {
  const line = parseCommandLine(pretrainGptCommand, ['--mock-data', '--vocab-size', '100', ...args]);
  if (line.help) throw new Error('help was not asked for');
  return line.config;
}

describe('the options of precision', () => {
  it("have Megatron's defaults", () => {
    expect(pretrain()).toMatchObject({
      ...{ bf16: false, fp16: false, initialLossScale: 4294967296, minLossScale: 1, lossScaleWindow: 1000 },
      hysteresis: 2,
    });
    expect(pretrain().lossScale).toBeUndefined();
    expect(pretrain('--bf16', '--loss-scale', '8')).toMatchObject({ bf16: true, lossScale: 8 });
    expect(pretrain('--fp16', '--hysteresis', '4')).toMatchObject({ fp16: true, hysteresis: 4 });
  });

  it.each([
    [['--bf16', '--fp16'], '--bf16 and --fp16 contradict each other', 'Keep one of the two'],
    [['--loss-scale', '8'], '--loss-scale has no effect in float32', 'add --fp16'],
    [['--fp16', '--loss-scale', '8', '--loss-scale-window', '10'], '--loss-scale-window contradicts --loss-scale', ''],
    [['--bf16', '--loss-scale', '8', '--hysteresis', '1'], '--hysteresis contradicts --loss-scale', ''],
    [
      ['--bf16', '--initial-loss-scale', '8'],
      '--initial-loss-scale has no effect without --fp16',
      'Remove it: bfloat16',
    ],
    [['--hysteresis', '1'], '--hysteresis has no effect without --fp16', 'add --fp16'],
    [['--fp16', '--min-loss-scale', '8', '--initial-loss-scale', '4'], 'is above --initial-loss-scale 4', 'or less'],
    [['--fp16', '--loss-scale', '0'], '--loss-scale must be more than 0', ''],
  ])('%j: %s', (args, message, remedy) => {
    let thrown: unknown;
    try {
      pretrain(...args);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ name: 'UsageError', message: expect.stringContaining(message) });
    if (remedy !== '') expect(thrown).toMatchObject({ remedy: expect.stringContaining(remedy) });
  });

  it('of generate choose a format alone', () => {
    expect(parseCommandLine(generateCommand, ['--load', 'd', '--bf16'])).toMatchObject({ config: { bf16: true } });
    expect(() => parseCommandLine(generateCommand, ['--load', 'd', '--bf16', '--fp16'])).toThrow('contradict');
    expect(() => parseCommandLine(generateCommand, ['--load', 'd', '--loss-scale', '2'])).toThrow('unknown option');
  });
});
