/** The header of a safetensors file: made for writing, and fully checked when read. */

import { CheckpointError } from '../base/errors.ts';
import { elementCount, isShape, isStoredDtype, itemSize, type StoredDtype } from './dtype.ts';
import { isJsonObject } from './json.ts';

/** One tensor of a file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the data. */
  readonly begin: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** Where the data begins in the file: 8 bytes of header length, then the header. */
  readonly dataStart: number;
}

/** The longest header that readers of the format accept. */
export const largestHeaderBytes = 100_000_000;

/**
 * Lays out tensors one after the other, the widest elements first so that each is aligned to its own size, and by name among equals.
 *
 * @returns the bytes before the data (length and header, padded to 8 bytes), and the entries in the order of their data.
 */
export function layOutHeader(
  tensors: Iterable<{ readonly name: string; readonly dtype: StoredDtype; readonly shape: readonly number[] }>,
  metadata: Readonly<Record<string, string>>,
): { head: Uint8Array; entries: TensorEntry[] } {
  const sorted = [...tensors].sort((first, second) => {
    const bySize = itemSize(second.dtype) - itemSize(first.dtype);
    return bySize !== 0 ? bySize : first.name < second.name ? -1 : first.name > second.name ? 1 : 0;
  });
  const entries: TensorEntry[] = [];
  // A Map, not an object: an object would put names such as "0" first, and lose one called "__proto__".
  const fields: string[] = [];
  if (Object.keys(metadata).length > 0) fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  const taken = new Set(['__metadata__']);
  let begin = 0;
  for (const { name, dtype, shape } of sorted) {
    if (taken.has(name))
      throw new CheckpointError(`the tensor name "${name}" is taken: a safetensors file holds each name once`);
    taken.add(name);
    const bytes = elementCount(shape) * itemSize(dtype);
    entries.push({ name, dtype, shape: [...shape], begin, bytes });
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, begin + bytes] })}`);
    begin += bytes;
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  const length = Math.ceil(json.byteLength / 8) * 8;
  if (length > largestHeaderBytes) {
    throw new CheckpointError(
      `the header of a safetensors file would take ${length} bytes; readers refuse more than ${largestHeaderBytes}`,
    );
  }
  const head = Buffer.alloc(8 + length, ' ');
  head.writeBigUInt64LE(BigInt(length), 0);
  json.copy(head, 8);
  return { head, entries };
}

/**
 * Reads a header and holds it against the format and the size of its file.
 *
 * @param json the header's bytes, without the length before them
 * @throws CheckpointError naming the file, the tensor and what is wrong.
 */
export function parseHeader(json: Uint8Array, fileBytes: number, path: string): SafetensorsHeader {
  const broken = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError(`${path} is damaged or no safetensors file: ${what}`, cause === undefined ? {} : { cause });
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (error) {
    throw broken('its header is no JSON text', error);
  }
  if (!isJsonObject(header)) throw broken('its header is no JSON object');
  const dataStart = 8 + json.byteLength;
  const metadata: Record<string, string> = {};
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (!isJsonObject(value)) throw broken(`the header's "${name}" is no object`);
    if (name === '__metadata__') {
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== 'string') throw broken(`the metadata "${key}" is no text`);
        metadata[key] = text;
      }
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = value;
    if (!isStoredDtype(dtype)) throw broken(`tensor "${name}" has the unknown dtype ${JSON.stringify(dtype)}`);
    if (!isShape(shape)) throw broken(`tensor "${name}" has the shape ${JSON.stringify(shape)}`);
    if (!isShape(offsets) || offsets.length !== 2)
      throw broken(`tensor "${name}" has the offsets ${JSON.stringify(offsets)}`);
    const [begin = 0, end = 0] = offsets;
    const bytes = elementCount(shape) * itemSize(dtype);
    if (end - begin !== bytes) {
      throw broken(
        `tensor "${name}" (${dtype} [${shape.join(', ')}]) takes ${bytes} bytes, its offsets say ${end - begin}`,
      );
    }
    entries.push({ name, dtype, shape, begin, bytes });
  }
  entries.sort((first, second) => first.begin - second.begin || first.bytes - second.bytes);
  let expected = 0;
  for (const entry of entries) {
    if (entry.begin !== expected)
      throw broken(`tensor "${entry.name}" begins at byte ${entry.begin}, not at ${expected}`);
    expected += entry.bytes;
  }
  if (dataStart + expected !== fileBytes) {
    throw broken(`its header describes ${dataStart + expected} bytes, the file has ${fileBytes}`);
  }
  return { metadata, tensors: new Map(entries.map((entry) => [entry.name, entry])), dataStart };
}
