/** A command's options as one schema, and the way from a command line, a YAML file or an object to its configuration. */

import { z } from 'zod';
import { UsageError } from '../base/errors.ts';
import { flagName } from '../base/flag-name.ts';
import { type ParsedArguments, parseArguments, type RawValues } from './arguments.ts';
import { readConfigFile } from './config-file.ts';
import { type Flag, flagsOf } from './flag.ts';

/** What a check across options may ask. */
export interface Given {
  /** Whether the option was given on the command line, in the file or in the object, rather than left at its default. */
  has(key: string): boolean;
}

export interface CommandDefinition<Schema extends z.ZodObject, Config> {
  /** Words after `megatron`: `pretrain gpt`. */
  readonly name: string;
  /** One sentence on what it does. */
  readonly summary: string;
  /** Command lines to start from, without the program's name. */
  readonly examples: readonly string[];
  readonly schema: Schema;
  /**
   * Checks the options against each other and fills in what follows from others.
   *
   * @throws UsageError naming the two options and the fix.
   */
  resolve(options: z.output<Schema>, given: Given): Config;
}

/** A command as the parser and the help see it, whatever its options are. */
export interface Command<Config> {
  readonly name: string;
  readonly summary: string;
  readonly examples: readonly string[];
  readonly flags: readonly Flag[];
  /** @throws UsageError for a value or a combination that cannot be. */
  configure(values: RawValues): Configured<Config>;
}

export interface Configured<Config> {
  readonly config: Config;
  /** Keys that were given; all others are at their defaults. */
  readonly given: ReadonlySet<string>;
}

/** Makes a command of its definition; the flags, file keys and help all come from its schema. */
export function defineCommand<Schema extends z.ZodObject, Config>(
  definition: CommandDefinition<Schema, Config>,
): Command<Config> {
  const { name, summary, examples, schema, resolve } = definition;
  const flags = flagsOf(schema);
  return {
    name,
    summary,
    examples,
    flags,
    configure(values) {
      const parsed = z.strictObject(schema.shape).safeParse(values);
      if (!parsed.success) throw usageError(parsed.error.issues, flags, values);
      const given = new Set(Object.keys(values).filter((key) => values[key] !== undefined));
      // The strict twin has the same shape; zod's types do not say so for a generic schema.
      return { config: resolve(parsed.data as z.output<Schema>, given), given };
    },
  };
}

export interface CommandLine<Config> extends Configured<Config> {
  readonly help: false;
}

/**
 * Reads a command line: defaults, then the file of `--config`, then flags.
 *
 * @returns the configuration, or only that `--help` was asked for (then nothing is checked).
 * @throws UsageError
 */
export function parseCommandLine<Config>(
  command: Command<Config>,
  args: readonly string[],
): CommandLine<Config> | { readonly help: true } {
  if (args.includes('--help') || args.includes('-h')) return { help: true };
  const parsed: ParsedArguments = parseArguments(args, command.flags);
  const fromFile = parsed.configFile === undefined ? {} : readConfigFile(parsed.configFile, command.flags);
  return { help: false, ...command.configure({ ...fromFile, ...parsed.values }) };
}

function usageError(issues: readonly z.core.$ZodIssue[], flags: readonly Flag[], values: RawValues): UsageError {
  const messages = issues.map((issue) => {
    const key = String(issue.path[0] ?? '');
    const known = flags.find((candidate) => candidate.key === key);
    return describeIssue(issue, known, values[key]);
  });
  return new UsageError(messages.join('\n'), { remedy: 'See --help for every option and its default.' });
}

function describeIssue(issue: z.core.$ZodIssue, known: Flag | undefined, value: unknown): string {
  const name = `--${known?.name ?? flagName(String(issue.path[0] ?? ''))}`;
  const got = Array.isArray(value) ? value.join(' ') : String(value);
  if (value === undefined && known !== undefined) return `${name} ${known.value ?? ''} is missing`.replace('  ', ' ');
  switch (issue.code) {
    case 'unrecognized_keys':
      return `unknown option ${issue.keys.map((key) => `--${flagName(key)}`).join(', ')}`;
    case 'too_small':
      if (known?.kind === 'list' || known?.kind === 'string') return `${name} must not be empty`;
      return `${name} must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}, not ${got}`;
    case 'too_big':
      // Whole numbers end at 2⁵³: nobody means such a number.
      return `${name} must be ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}, not ${got}`;
    case 'invalid_value':
      return `${name} must be one of ${issue.values.map(String).join(', ')}; not ${got}`;
    case 'invalid_type':
      return `${name} needs ${issue.expected === 'int' ? 'a whole number' : `a ${issue.expected}`}, not ${got}`;
    case 'invalid_union': {
      const [first] = issue.errors[0] ?? [];
      return first
        ? `${describeIssue(first, known, value)} (or ${known?.choices.join(', ')})`
        : `${name}: ${issue.message}`;
    }
    default:
      return `${name}: ${issue.message}`;
  }
}
