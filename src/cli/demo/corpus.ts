/** Makes a small body of text of many files: no repetition, no file that outweighs the others, whole files held out. */

import { closeSync, openSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import type { TextFile, TextKind } from './text-files.ts';

export interface CorpusLimits {
  /** Bytes of text in all. */
  readonly totalBytes: number;
  /** Bytes taken of one file; the rest of it is left out. */
  readonly fileBytes: number;
  /** Bytes to hold out for the loss during training, and for the evaluation after it; the last file may go over. */
  readonly validBytes: number;
  readonly testBytes: number;
}

export interface CorpusDocument {
  /** Path inside `node_modules`. */
  readonly name: string;
  readonly kind: TextKind;
  readonly text: string;
  readonly bytes: number;
}

/** Documents by what they are for: the order in which `--split` cuts them. */
export interface Corpus {
  readonly train: readonly CorpusDocument[];
  readonly valid: readonly CorpusDocument[];
  readonly test: readonly CorpusDocument[];
  /** Files left out because most of their lines stand in others. */
  readonly repeated: number;
}

/** Held-out files are of middling size, so that no single one decides the figure. */
const heldOutSizes = { least: 1_000, most: 30_000 };
const leastBytes = 200;
/** Lines shorter than this (`}`, `import x from 'y'`) say nothing about repetition. */
const tellingLine = 16;
/** A file is a repetition when this share of its telling characters stands in files before it. */
const repeatedShare = 0.5;

/**
 * Reads files in their order until the limit. The first ones of middling size are held out, so a file of the training
 * part never repeats them: what repeats an earlier file is left out.
 */
export async function collectCorpus(
  files: readonly TextFile[],
  limits: CorpusLimits,
  options: { readonly signal?: AbortSignal; readonly onProgress?: (files: number, bytes: number) => void } = {},
): Promise<Corpus> {
  const train: CorpusDocument[] = [];
  const heldOut = { test: [] as CorpusDocument[], valid: [] as CorpusDocument[] };
  const missing = { test: shares(limits.testBytes), valid: shares(limits.validBytes) };
  const seenLines = new Set<string>();
  let repeated = 0;
  let total = 0;
  for (const [index, file] of files.entries()) {
    if (total >= limits.totalBytes) break;
    if (index % 32 === 0) {
      await setImmediate();
      options.signal?.throwIfAborted();
      options.onProgress?.(index, total);
    }
    const text = readText(file.path, Math.min(limits.fileBytes, limits.totalBytes - total));
    if (text === undefined) continue;
    const lines = text.split('\n').filter((line) => line.length >= tellingLine);
    if (isRepetition(lines, seenLines)) {
      repeated++;
      continue;
    }
    for (const line of lines) seenLines.add(line);
    const bytes = Buffer.byteLength(text);
    total += bytes;
    const document = { name: file.name, kind: file.kind, text, bytes };
    const middling = bytes >= heldOutSizes.least && bytes <= heldOutSizes.most;
    const part = (['test', 'valid'] as const).find((name) => middling && missing[name][file.kind] > 0);
    if (part === undefined) {
      train.push(document);
    } else {
      heldOut[part].push(document);
      missing[part][file.kind] -= bytes;
    }
  }
  return { train, ...heldOut, repeated };
}

/** What is held out is of both kinds, about as the whole is. */
const shares = (bytes: number): Record<TextKind, number> => ({ TypeScript: 0.9 * bytes, Markdown: 0.1 * bytes });

/** The beginning of a file, to the end of a line; undefined where it is no text worth reading. */
function readText(path: string, mostBytes: number): string | undefined {
  let content: string;
  try {
    const bytes = readBeginning(path, mostBytes);
    // Cut at a line, a character is never cut.
    const end = bytes.length < mostBytes ? bytes.length : bytes.lastIndexOf(0x0a) + 1;
    content = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, end));
  } catch {
    return undefined; // unreadable, or no UTF-8
  }
  // Source maps are no text, though some stand in a comment of the last line.
  const text = content
    .replaceAll('\r\n', '\n')
    .replaceAll(/^\/\/# sourceMappingURL=.*$/gm, '')
    .trim();
  if (text.length < leastBytes || text.includes('\0')) return undefined;
  const meanLine = text.length / (text.split('\n').length + 1);
  return meanLine > 300 ? undefined : `${text}\n`; // generated tables have endless lines
}

function readBeginning(path: string, mostBytes: number): Buffer {
  const handle = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(mostBytes);
    let size = 0;
    for (let read = -1; read !== 0 && size < mostBytes; size += read) {
      read = readSync(handle, buffer, size, mostBytes - size, null);
    }
    return buffer.subarray(0, size);
  } finally {
    closeSync(handle);
  }
}

function isRepetition(lines: readonly string[], seen: ReadonlySet<string>): boolean {
  let all = 0;
  let known = 0;
  for (const line of lines) {
    // An endless line that differs in one place does not make a file new.
    const weight = Math.min(line.length, 100);
    all += weight;
    if (seen.has(line)) known += weight;
  }
  return known > repeatedShare * all;
}
