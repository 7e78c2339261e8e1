/** Command line → option values. Knows the options only through their schema. */

import { UsageError } from '../base/errors.ts';
import type { Flag } from './flag.ts';
import { suggestName } from './suggest.ts';

/** Option values by configuration key, typed by their kind but not yet checked. */
export type RawValues = Record<string, unknown>;

export interface ParsedArguments {
  readonly values: RawValues;
  readonly help: boolean;
  /** `--config`: a YAML file whose keys are the flags without dashes. */
  readonly configFile: string | undefined;
}

const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * Reads `--name value`, `--name=value`, `--switch`, `--switch=false` and lists (`--data-path 0.3 a 0.7 b`: all up to the next flag).
 *
 * @throws UsageError naming the fix: unknown flag, missing value, flag given twice, stray word.
 */
export function parseArguments(args: readonly string[], flags: readonly Flag[]): ParsedArguments {
  const byName = new Map(flags.map((known) => [known.name, known]));
  const values: RawValues = {};
  let help = false;
  let configFile: string | undefined;
  for (let at = 0; at < args.length; ) {
    const word = args[at] ?? '';
    at++;
    if (word === '--help' || word === '-h') {
      help = true;
      continue;
    }
    if (!word.startsWith('--') || word === '--') throw strayWord(word, byName);
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    const attached = equals < 0 ? undefined : word.slice(equals + 1);
    const known = byName.get(name);
    if (known === undefined && name !== 'config') throw unknownFlag(name, [...byName.keys(), 'config', 'help']);
    const following: string[] = [];
    if (attached !== undefined) following.push(attached);
    else if (known?.kind !== 'boolean') {
      const most = known?.kind === 'list' ? Number.POSITIVE_INFINITY : 1;
      for (; following.length < most && at < args.length && !isFlag(args[at] ?? ''); at++)
        following.push(args[at] ?? '');
    }
    if (known === undefined) {
      configFile = onlyOnce(name, configFile, oneOf(name, 'FILE', following, args[at]));
    } else {
      const value = known.kind === 'boolean' ? switchValue(known, attached) : readValue(known, following, args[at]);
      values[known.key] = onlyOnce(name, values[known.key], value);
    }
  }
  return { values, help, configFile };
}

/** Values may begin with one dash (a negative number), not with two; `-h` always asks for help. */
function isFlag(word: string): boolean {
  return word.startsWith('--') || word === '-h';
}

function onlyOnce<Value>(name: string, earlier: unknown, value: Value): Value {
  if (earlier === undefined) return value;
  throw new UsageError(`--${name} is given twice`, { remedy: 'Keep one of the two.' });
}

function switchValue(known: Flag, attached: string | undefined): boolean {
  if (attached === undefined || attached === 'true') return true;
  if (attached === 'false') return false;
  throw new UsageError(`--${known.name} is a switch, and "${attached}" is neither true nor false`, {
    remedy: `Write --${known.name}, or --${known.name}=false.`,
  });
}

function readValue(known: Flag, words: readonly string[], next: string | undefined): unknown {
  if (known.kind === 'list' && words.length > 0) return [...words];
  const word = oneOf(known.name, known.value ?? 'VALUE', words, next);
  return known.kind === 'number' ? numberOrWord(known, `--${known.name}`, word) : word;
}

/** @throws UsageError where `word` is neither a finite decimal number nor a word that the option takes instead. */
export function numberOrWord({ choices }: Pick<Flag, 'choices'>, name: string, word: string): number | string {
  if (choices.includes(word)) return word;
  const number = numberPattern.test(word) ? Number(word) : Number.NaN;
  if (Number.isFinite(number)) return number;
  const expected = ['a number', ...choices].join(' or ');
  throw new UsageError(`${name} needs ${expected}, not "${word}"`, { remedy: 'Write it as 1000, 0.01 or 1.5e-4.' });
}

function oneOf(name: string, value: string, words: readonly string[], next: string | undefined): string {
  const word = words[0];
  if (word !== undefined) return word;
  const remedy =
    next === undefined
      ? `Write --${name} ${value}.`
      : `Write --${name} ${value}; for a value that begins with dashes, --${name}=${next}.`;
  throw new UsageError(`--${name} needs a value`, { remedy });
}

function strayWord(word: string, byName: ReadonlyMap<string, Flag>): UsageError {
  const bare = word.replace(/^-+/, '');
  const near = suggestName(bare, [...byName.keys()]);
  return new UsageError(`"${word}" is no option and belongs to none`, {
    remedy: near === undefined ? 'Options begin with two dashes; see --help.' : `Did you mean --${near}?`,
  });
}

function unknownFlag(name: string, known: readonly string[]): UsageError {
  const near = suggestName(name, known);
  return new UsageError(`unknown option --${name}`, {
    remedy: near === undefined ? 'See --help for the options of this command.' : `Did you mean --${near}?`,
  });
}
