/** From words to an exit code: finds the command, runs it, and turns what it throws into one clear message. */

import { setTimeout } from 'node:timers/promises';
import { MegatronError, messageOf, UsageError } from '../base/errors.ts';
import { RankFailure } from '../comm/errors.ts';
import { underMpi } from '../comm/mpi/launch.ts';
import { commandHelp, entry } from '../config/help.ts';
import { suggestName } from '../config/suggest.ts';
import type { CommandContext } from './command-module.ts';
import { InterruptedError } from './interrupt.ts';
import type { RunnableCommand } from './registry.ts';
import { version } from './version.ts';

type Streams = Pick<CommandContext, 'stdout' | 'stderr'>;

export interface CliOptions extends Streams {
  readonly commands: readonly RunnableCommand[];
  readonly environment: NodeJS.ProcessEnv;
}

const defaultColumns = 100;

/** Under MPI all ranks read the same words and find the same fault: rank 0 tells it, before a launcher ends all for one's exit. */
const lastWordsMilliseconds = 1500;

/**
 * Runs `megatron` with the words after its name.
 *
 * @returns exit code: 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n
 */
export async function runCli(args: readonly string[], options: CliOptions): Promise<number> {
  const { commands, stdout, stderr } = options;
  const columns = stdout.columns ?? defaultColumns;
  try {
    const [first] = args;
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      stdout.write(overview(commands, columns));
      return 0;
    }
    if (first === '--version') {
      stdout.write(`${version()}\n`);
      return 0;
    }
    const { found, rest } = findCommand(commands, args);
    const code = await found.run(rest, { stdout, stderr });
    if (code !== 'help') return code;
    stdout.write(commandHelp(found.command, columns));
    return 0;
  } catch (error) {
    const debug = args.includes('--debug') || isOn(options.environment.MEGATRON_DEBUG);
    if (error instanceof UsageError && rankOf(options.environment) > 0) await setTimeout(lastWordsMilliseconds);
    else stderr.write(describeError(error, debug));
    if (error instanceof InterruptedError) return error.exitCode;
    const cause = error instanceof RankFailure ? error.cause : error;
    return cause instanceof UsageError ? 2 : 1;
  }
}

function rankOf(environment: NodeJS.ProcessEnv): number {
  try {
    return underMpi(environment)?.rank ?? 0;
  } catch {
    return Number(environment.SLURM_PROCID ?? 0); // srun without MPI: that is the fault to be told
  }
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && !['', '0', 'false', 'no'].includes(value.toLowerCase());
}

/** The command whose name begins the words, and the words after it. */
function findCommand(
  commands: readonly RunnableCommand[],
  args: readonly string[],
): { found: RunnableCommand; rest: readonly string[] } {
  for (const found of commands) {
    const words = found.command.name.split(' ');
    if (words.every((word, index) => args[index] === word)) return { found, rest: args.slice(words.length) };
  }
  const [first = '', second = ''] = args;
  const names = commands.map(({ command }) => command.name);
  const siblings = names.filter((name) => name.startsWith(`${first} `));
  if (siblings.length > 0) {
    const what = second === '' || second.startsWith('-') ? 'needs one more word' : `does not know "${second}"`;
    throw new UsageError(`megatron ${first} ${what}`, { remedy: `Write megatron ${siblings.join(', or megatron ')}.` });
  }
  if (first.startsWith('-')) {
    throw new UsageError(`${first} comes before the command`, {
      remedy: `Write megatron COMMAND ${first}; see megatron --help.`,
    });
  }
  const near = suggestName(first, names) ?? suggestName(`${first} ${second}`, names);
  throw new UsageError(`there is no command "${first}"`, {
    remedy: near === undefined ? 'See megatron --help.' : `Did you mean megatron ${near}?`,
  });
}

/** `megatron --help`. */
function overview(commands: readonly RunnableCommand[], columns: number): string {
  const width = Math.max(50, Math.min(columns, 110));
  const variables: readonly (readonly [string, string])[] = [
    ['MEGATRON_CACHE_DIR', 'folder for compiled kernels (default: megatron-ts in ~/.cache)'],
    ['MEGATRON_DEBUG=1', 'print stack traces of errors, as --debug'],
    ['MEGATRON_NO_APT=1', 'in a clone of the repository: never install the compiler or oneDNN with apt-get'],
    ['CXX', 'the C++ compiler (default: c++, g++ or clang++)'],
  ];
  const lines = [
    `megatron ${version()}: train transformer language models, from raw text to a model that writes`,
    '',
    'Usage: megatron COMMAND [options]',
    '',
    'Commands:',
    ...commands.flatMap(({ command }) => entry(command.name, command.summary, width)),
    '',
    'megatron COMMAND --help tells the options of a command.',
    '',
    'Environment:',
    ...variables.flatMap(([name, meaning]) => entry(name, meaning, width)),
  ];
  return `${lines.join('\n')}\n`;
}

/** What the user reads when something fails: the message, the remedy, and the stack only where it was asked for. */
export function describeError(error: unknown, debug: boolean): string {
  const lines: string[] = [];
  if (error instanceof MegatronError) {
    lines.push(`megatron: ${error.message}`);
    if (error.remedy !== undefined) lines.push(error.remedy);
  } else {
    lines.push(`megatron: unexpected error: ${messageOf(error)}`);
    if (!debug) lines.push('This should not happen. Run it again with --debug, and report what it prints.');
  }
  if (debug) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
      lines.push(cause.stack ?? cause.message);
  }
  return `${lines.join('\n')}\n`;
}
