/** YAML configuration file → option values. Its keys are the flags without their dashes. */

import { readFileSync } from 'node:fs';
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { messageOf, UsageError } from '../base/errors.ts';
import { fileError } from '../base/files.ts';
import { numberOrWord, type RawValues } from './arguments.ts';
import type { Flag } from './flag.ts';
import { suggestName } from './suggest.ts';

/**
 * Reads a configuration file.
 *
 * @throws UsageError with file and line: not YAML, an unknown key, a value of the wrong kind.
 */
export function readConfigFile(path: string, flags: readonly Flag[]): RawValues {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const wrapped = fileError(`cannot read the configuration file ${path}`, error);
    throw new UsageError(wrapped.message, {
      cause: error,
      ...(wrapped.remedy === undefined ? {} : { remedy: wrapped.remedy }),
    });
  }
  return parseConfig(text, path, flags);
}

/** As `readConfigFile`, on text; `path` is for the messages. */
export function parseConfig(text: string, path: string, flags: readonly Flag[]): RawValues {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number | undefined) => `${path}:${lines.linePos(offset ?? 0).line}`;
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new UsageError(`${place(problem.pos[0])}: ${problem.message}`, { remedy: 'Correct the YAML.' });
  }
  const root = document.contents;
  if (root === null) return {};
  if (!isMap(root)) {
    throw new UsageError(`${path}: expected lines of the form "key: value"`, {
      remedy: 'Write, for example, num-layers: 24',
    });
  }
  const byName = new Map(flags.map((known) => [known.name, known]));
  const values: RawValues = {};
  for (const { key, value } of root.items) {
    const name = String(isScalar(key) ? key.value : key);
    const line = place(isScalar(key) ? key.range?.[0] : undefined);
    const known = byName.get(name);
    if (known === undefined) {
      const near = suggestName(name.replace(/^-+/, ''), [...byName.keys()]);
      throw new UsageError(`${line}: unknown key "${name}"`, {
        remedy:
          near === undefined
            ? 'Keys are the flags of the command without their dashes; see --help.'
            : `Did you mean "${near}"?`,
      });
    }
    values[known.key] = valueOfKind(known, plainValue(value, document, line), `${line}: ${name}`);
  }
  return values;
}

/** A node of the YAML library as JavaScript has it, aliases (`*name`) replaced by what they stand for. */
function plainValue(node: unknown, document: Document, where: string): unknown {
  try {
    return isNode(node) ? node.toJS(document) : undefined;
  } catch (error) {
    throw new UsageError(`${where}: ${messageOf(error)}`, { cause: error, remedy: 'Correct the YAML.' });
  }
}

function valueOfKind(known: Flag, value: unknown, where: string): unknown {
  const wrong = (expected: string) =>
    new UsageError(`${where} needs ${expected}, not ${JSON.stringify(value) ?? 'nothing'}`, {
      remedy: value === null || value === undefined ? 'Give it a value, or remove the line.' : 'Correct the value.',
    });
  const isWord = typeof value === 'string' || typeof value === 'number';
  switch (known.kind) {
    case 'boolean':
      if (typeof value !== 'boolean') throw wrong('true or false');
      return value;
    case 'number':
      if (typeof value === 'number' && Number.isFinite(value)) return value;
      if (typeof value === 'string') return numberOrWord(known, where, value);
      throw wrong('a number');
    case 'list': {
      const items: readonly unknown[] = Array.isArray(value) ? value : [value];
      if (!items.every((item) => typeof item === 'string' || typeof item === 'number')) throw wrong('a list of words');
      return items.map(String);
    }
    default:
      if (!isWord) throw wrong('a word');
      return String(value);
  }
}
