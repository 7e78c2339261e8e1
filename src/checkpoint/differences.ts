/** Says how two records contradict each other, in the words of the command line. */

import { flagName } from '../base/flag-name.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';

const words = (value: JsonValue | undefined): string =>
  value === undefined ? 'not set' : typeof value === 'string' ? value : JSON.stringify(value);

function same(first: JsonValue | undefined, second: JsonValue | undefined): boolean {
  if (isJsonObject(first) && isJsonObject(second)) return describeDifferences(first, second).length === 0;
  if (Array.isArray(first) && Array.isArray(second)) {
    return first.length === second.length && first.every((element: JsonValue, index) => same(element, second[index]));
  }
  return first === second;
}

/**
 * One line per contradiction, in the saved record's order: `hidden-size: checkpoint 768, command line 512`.
 * Records inside records are told by `outer.inner`; a key that only one side has counts, and an empty result means agreement.
 */
export function describeDifferences(saved: JsonObject, asked: JsonObject, prefix = ''): string[] {
  const keys = new Set([...Object.keys(saved), ...Object.keys(asked)]);
  return [...keys].flatMap((key) => {
    const [before, now] = [saved[key], asked[key]];
    const name = `${prefix}${flagName(key)}`;
    if (isJsonObject(before) && isJsonObject(now)) return describeDifferences(before, now, `${name}.`);
    return same(before, now) ? [] : [`${name}: checkpoint ${words(before)}, command line ${words(now)}`];
  });
}
