/** JSON values, and a check that nothing is lost on the way through JSON. */

import { CheckpointError } from '../base/errors.ts';

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Refuses what JSON would silently change: NaN and infinities (become null), undefined (vanishes), typed arrays, class instances.
 *
 * @throws CheckpointError with the path of the value: `trainingState.lossScaler.scale`.
 */
export function assertJson(value: unknown, path: string): asserts value is JsonValue {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return;
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return;
    throw unsaveable(path, String(value));
  }
  if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) assertJson(element, `${path}[${index}]`);
    return;
  }
  if (typeof value === 'object') {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw unsaveable(path, 'an object of a class');
    for (const [key, element] of Object.entries(value)) assertJson(element, `${path}.${key}`);
    return;
  }
  throw unsaveable(path, typeof value);
}

function unsaveable(path: string, what: string): CheckpointError {
  return new CheckpointError(`${path} is ${what}, which JSON cannot hold, so a checkpoint would not give it back`, {
    remedy: 'Save such a value as a tensor or as text.',
  });
}
