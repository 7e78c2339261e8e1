/** `--help` from the schema: usage, options by topic with their defaults, examples; wrapped to the terminal. */

import type { Command } from './command.ts';
import { type Flag, flagGroups } from './flag.ts';

const widest = 110;
const narrowest = 50;

/** Left column: the flag and its value. */
const flagColumn = 38;

/** Help of one command, for a terminal of `columns` columns. */
export function commandHelp(command: Command<unknown>, columns: number): string {
  const width = Math.min(Math.max(columns, narrowest), widest);
  const needed = command.flags.filter((known) => known.required).map(signature);
  const lines = [
    ...wrap(`megatron ${command.name}: ${command.summary}`, width, 2),
    '',
    ...wrap(`Usage: megatron ${[command.name, ...needed, '[options]'].join(' ')}`, width, 7),
  ];
  for (const group of flagGroups) {
    const members = command.flags.filter((known) => known.group === group);
    if (members.length === 0) continue;
    lines.push('', `${group}:`);
    for (const member of members) lines.push(...entry(`--${member.name}${valueWord(member)}`, describe(member), width));
  }
  lines.push('', 'General:');
  lines.push(
    ...entry('--config FILE', 'YAML file with the same options, named without dashes; flags win over it', width),
  );
  lines.push(...entry('--help', 'print this', width));
  if (command.examples.length > 0) lines.push('', 'Examples:', ...command.examples.map((line) => `  megatron ${line}`));
  return `${lines.join('\n')}\n`;
}

/** Two columns, or two lines where the left one is too long. */
export function entry(left: string, right: string, width: number): string[] {
  const indent = width < 80 ? 6 : flagColumn;
  const text = wrap(right, width - indent, 0).map((line) => ' '.repeat(indent) + line);
  if (left.length + 4 > indent) return [`  ${left}`, ...text];
  const [first = '', ...others] = text;
  return [`  ${left.padEnd(indent - 2)}${first.trimStart()}`, ...others];
}

/** Breaks `text` between words into lines of at most `width`; all but the first are indented. */
export function wrap(text: string, width: number, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = ' '.repeat(indent) + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function signature(known: Flag): string {
  return `--${known.name}${valueWord(known)}`;
}

function valueWord(known: Flag): string {
  switch (known.kind) {
    case 'boolean':
      return '';
    case 'choice':
      return ` ${known.value ?? 'CHOICE'}`;
    case 'list':
      return ` ${known.value ?? 'WORD'} …`;
    default:
      return ` ${known.value ?? (known.kind === 'number' ? 'N' : 'TEXT')}`;
  }
}

function describe(known: Flag): string {
  const notes = [known.choices.length > 0 ? known.choices.join(', ') : '', defaultWords(known)];
  const inBrackets = notes.filter((note) => note !== '').join('; ');
  return inBrackets === '' ? known.help : `${known.help} (${inBrackets})`;
}

function defaultWords(known: Flag): string {
  if (known.required) return 'required';
  if (known.default !== undefined) return `default: ${known.default}`;
  const value = known.defaultValue;
  if (value === undefined || value === false || value === '') return '';
  return `default: ${Array.isArray(value) ? value.join(' ') : String(value)}`;
}
