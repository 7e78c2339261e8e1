import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { DataError, UsageError } from '../base/errors.ts';
import { type Command, defineCommand, parseCommandLine } from '../config/command.ts';
import { flag } from '../config/flag.ts';
import { InterruptedError, interruptible } from './interrupt.ts';
import type { RunnableCommand } from './registry.ts';
import { describeError, runCli } from './run.ts';

function command(name: string, work: (size: number) => number): RunnableCommand {
  const definition: Command<{ size: number }> = defineCommand({
    name,
    summary: `does ${name}`,
    examples: [],
    schema: z.object({
      size: flag(z.int().default(1), { group: 'Model', help: 'size' }),
      debug: flag(z.boolean().default(false), { group: 'Engine', help: 'stack' }),
    }),
    resolve: (options) => options,
  });
  return {
    command: definition,
    async run(args) {
      const line = parseCommandLine(definition, args);
      return line.help ? 'help' : work(line.config.size);
    },
  };
}

const commands = [
  command('measure', (size) => size),
  command('pretrain gpt', () => {
    throw new DataError('the file is damaged', { remedy: 'Make it again.' });
  }),
  command('pretrain bert', () => {
    throw new TypeError('x is not a function');
  }),
];

async function cli(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  let stdout = '';
  let stderr = '';
  const code = await runCli(args, {
    commands,
    environment,
    stdout: { columns: 80, write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { code, stdout, stderr };
}

describe('runCli', () => {
  it('runs a command with its options and passes its exit code on', async () => {
    expect(await cli(['measure', '--size', '0'])).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await cli(['measure', '--size', '3'])).code).toBe(3);
  });

  it('lets rank 0 alone tell what all ranks under MPI find wrong, each with its exit code', async () => {
    const rank = (number: number) => ({ OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: String(number) });
    expect(await cli(['measure', '--sizes', '0'], rank(0))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('unknown option'),
    });
    expect(await cli(['measure', '--sizes', '0'], rank(1))).toEqual({ code: 2, stdout: '', stderr: '' });
    // what may be wrong on one host only is told by who meets it
    expect((await cli(['pretrain', 'gpt'], rank(1))).stderr).toContain('the file is damaged');
  });

  it('prints help on all commands, on one, and the version', async () => {
    for (const args of [[], ['--help'], ['-h'], ['help']]) {
      const { code, stdout } = await cli(args);
      expect(code).toBe(0);
      expect(stdout).toMatch(/measure +does measure\n/);
      expect(stdout).toContain('MEGATRON_NO_APT=1');
    }
    expect((await cli(['measure', '--help'])).stdout).toContain('--size N');
    expect((await cli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('answers wrong usage with 2, the mistake and the fix', async () => {
    expect(await cli(['mesure'])).toMatchObject({
      code: 2,
      stderr: 'megatron: there is no command "mesure"\nDid you mean megatron measure?\n',
    });
    expect(await cli(['pretrain'])).toMatchObject({
      code: 2,
      stderr:
        'megatron: megatron pretrain needs one more word\nWrite megatron pretrain gpt, or megatron pretrain bert.\n',
    });
    expect((await cli(['pretrain', 'gtp'])).stderr).toContain('does not know "gtp"');
    expect((await cli(['--size', '3', 'measure'])).stderr).toContain('--size comes before the command');
    expect(await cli(['measure', '--sise', '3'])).toMatchObject({
      code: 2,
      stderr: 'megatron: unknown option --sise\nDid you mean --size?\n',
    });
  });

  it('answers failures with 1 and one clear message, without a stack', async () => {
    expect(await cli(['pretrain', 'gpt'])).toEqual({
      code: 1,
      stdout: '',
      stderr: 'megatron: the file is damaged\nMake it again.\n',
    });
    const { code, stderr } = await cli(['pretrain', 'bert']);
    expect(code).toBe(1);
    expect(stderr).toContain('unexpected error: x is not a function');
    expect(stderr).not.toContain('    at ');
  });

  it('prints the stack with --debug or MEGATRON_DEBUG', async () => {
    expect((await cli(['pretrain', 'gpt', '--debug'])).stderr).toContain('    at ');
    expect((await cli(['pretrain', 'gpt'], { MEGATRON_DEBUG: '1' })).stderr).toContain('    at ');
    expect((await cli(['pretrain', 'gpt'], { MEGATRON_DEBUG: '0' })).stderr).not.toContain('    at ');
  });
});

describe('describeError', () => {
  it('names the causes with --debug', () => {
    const error = new UsageError('outer', { cause: new Error('inner') });
    expect(describeError(error, true)).toContain('Error: inner');
    expect(describeError(error, false)).toBe('megatron: outer\n');
    expect(describeError('a word', false)).toContain('unexpected error: a word');
  });
});

describe('interruptible', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('turns a signal into an abort with the exit code of the shell, and leaves no listener', () => {
    const before = process.listenerCount('SIGINT');
    {
      using interrupt = interruptible('Nothing was written.');
      expect(process.listenerCount('SIGINT')).toBe(before + 1);
      expect(interrupt.signal.aborted).toBe(false);
      process.emit('SIGINT');
      const reason: unknown = interrupt.signal.reason;
      expect(reason).toBeInstanceOf(InterruptedError);
      expect(reason).toMatchObject({ exitCode: 130, message: 'stopped by SIGINT', remedy: 'Nothing was written.' });
    }
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  it('takes signals of the same second as one, and lets a later one end the process', () => {
    vi.useFakeTimers();
    const before = process.listenerCount('SIGTERM');
    using interrupt = interruptible('');
    process.emit('SIGTERM');
    vi.advanceTimersByTime(900);
    process.emit('SIGTERM');
    process.emit('SIGINT');
    expect(interrupt.signal.reason).toMatchObject({ exitCode: 143 });
    expect(process.listenerCount('SIGTERM')).toBe(before + 1);
    vi.advanceTimersByTime(200);
    expect(process.listenerCount('SIGTERM')).toBe(before);
  });
});
