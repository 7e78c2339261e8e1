/** What the demo has done already: a record of every stage, so that a run that was stopped goes on where it was. */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DataError, messageOf, UsageError } from '../../base/errors.ts';
import { fileError, writeFileAtomically } from '../../base/files.ts';
import type { JsonObject } from '../../checkpoint/index.ts';

export const stageNames = ['text', 'tokenizer', 'data', 'model', 'training', 'evaluation', 'curve', 'writing'] as const;
export type StageName = (typeof stageNames)[number];

interface FileStamp {
  /** Path inside the demo's folder. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

interface StageRecord {
  /** Everything that decides the result: options, and the content of what earlier stages made. */
  readonly inputs: JsonObject;
  /** Undefined while the stage is at work. */
  readonly done?: { readonly result: JsonObject; readonly files: readonly FileStamp[] };
}

/** Raised when a stage does its work in another way, so that results of earlier versions are made anew. */
const formatVersion = 1;
const recordName = 'demo.json';
/** All that the demo writes into its folder; nothing else in it is ever touched. */
const ownEntries = /^(corpus\.jsonl|tokenizer|data|checkpoints(\.\d+)?|loss-curve\.svg|samples\.txt)$/;

/** How a stage stands. */
export type StageState =
  | { readonly kind: 'new' }
  | { readonly kind: 'begun' }
  | { readonly kind: 'done'; readonly result: JsonObject }
  /** Begun or done with other inputs. */
  | { readonly kind: 'outdated'; readonly reasons: readonly string[] }
  /** Done, but its files are no longer what it made. */
  | { readonly kind: 'damaged'; readonly reasons: readonly string[] };

export class Stages {
  readonly folder: string;
  readonly #records: Partial<Record<StageName, StageRecord>>;
  #finishedNow = 0;

  /**
   * @throws UsageError where the folder holds something that no demo made; DataError where the record is damaged.
   */
  constructor(folder: string, options: { readonly restart: boolean }) {
    this.folder = folder;
    refuseForeign(folder);
    if (options.restart) empty(folder);
    this.#records = readRecords(join(folder, recordName));
    // From now on the folder is known to be the demo's.
    this.#write();
  }

  /** Stages that were finished in this run; 0 where all were done before. */
  get finishedNow(): number {
    return this.#finishedNow;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Compares what was recorded with what is wanted and what is there. */
  state(name: StageName, inputs: JsonObject): StageState {
    const record = this.#records[name];
    if (record === undefined) return { kind: 'new' };
    const changes = differences(record.inputs, inputs);
    if (changes.length > 0) return { kind: 'outdated', reasons: changes };
    if (record.done === undefined) return { kind: 'begun' };
    const damage = record.done.files.flatMap(({ path, bytes, sha256 }) => {
      const found = readOptional(this.path(path));
      if (found === undefined) return [`${path} is missing`];
      return found.byteLength === bytes && hash(found) === sha256 ? [] : [`${path} was changed`];
    });
    return damage.length > 0 ? { kind: 'damaged', reasons: damage } : { kind: 'done', result: record.done.result };
  }

  begin(name: StageName, inputs: JsonObject): void {
    this.#records[name] = { inputs };
    this.#write();
  }

  /**
   * @param files paths inside the folder, all there by now
   * @throws DataError where a figure of the result is no finite number: it could not be read back
   */
  finish(name: StageName, result: JsonObject, files: readonly string[]): void {
    refuseNonFinite(name, result);
    const stamps = files.map((path) => {
      const content = readOptional(this.path(path));
      if (content === undefined) throw new DataError(`${this.path(path)} vanished while the demo ran`);
      return { path, bytes: content.byteLength, sha256: hash(content) };
    });
    this.#records[name] = { inputs: this.#records[name]?.inputs ?? {}, done: { result, files: stamps } };
    this.#finishedNow++;
    this.#write();
  }

  /** One hash for all files of a finished stage: what later stages depend on. */
  contentOf(name: StageName): string {
    const files = this.#records[name]?.done?.files ?? [];
    return hash(Buffer.from(files.map((file) => file.sha256).join(' '))).slice(0, 16);
  }

  /** Moves an entry of the folder out of the way, to the first free `name.1`, `name.2`, …; undefined where there is none. */
  setAside(name: string): string | undefined {
    if (!existsSync(this.path(name))) return undefined;
    for (let number = 1; ; number++) {
      const aside = `${name}.${number}`;
      if (existsSync(this.path(aside))) continue;
      try {
        renameSync(this.path(name), this.path(aside));
      } catch (error) {
        throw fileError(`cannot rename ${this.path(name)}`, error);
      }
      return aside;
    }
  }

  #write(): void {
    const content = { formatVersion, stages: this.#records };
    writeFileAtomically(join(this.folder, recordName), `${JSON.stringify(content, null, 1)}\n`);
  }
}

function refuseNonFinite(name: StageName, result: JsonObject): void {
  JSON.stringify(result, (key, value: unknown) => {
    if (typeof value !== 'number' || Number.isFinite(value)) return value;
    throw new DataError(`the demo's ${name} gave ${value} as its ${key}`, {
      remedy: 'Run the same command again; add --restart if it comes back.',
    });
  });
}

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function readOptional(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(`cannot read ${path}`, error);
  }
}

/** An empty folder, or none, becomes the demo's; any other must be so already. */
function refuseForeign(folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw fileError(`cannot use ${folder}`, error);
  }
  if (names.length === 0 || names.includes(recordName)) return;
  throw new UsageError(`${folder} holds files that are not a demo's`, {
    remedy: 'Choose a new or empty folder with --output.',
  });
}

function empty(folder: string): void {
  try {
    const names = existsSync(folder) ? readdirSync(folder) : [];
    for (const name of names.filter((entry) => ownEntries.test(entry))) {
      rmSync(join(folder, name), { recursive: true, force: true });
    }
    // Last, so that a restart that is cut short can be repeated.
    rmSync(join(folder, recordName), { force: true });
  } catch (error) {
    throw fileError(`cannot empty ${folder}`, error);
  }
}

function readRecords(path: string): Partial<Record<StageName, StageRecord>> {
  const content = readOptional(path);
  if (content === undefined) return {};
  const remedy = 'Add --restart to begin anew, or choose another folder with --output.';
  let parsed: { formatVersion?: unknown; stages?: unknown };
  try {
    parsed = JSON.parse(content.toString('utf8')) as typeof parsed;
  } catch (error) {
    throw new DataError(`${path} is damaged: ${messageOf(error)}`, { remedy });
  }
  if (parsed?.formatVersion !== formatVersion || typeof parsed.stages !== 'object' || parsed.stages === null) {
    throw new UsageError(`${path} was written by another version of the demo`, { remedy });
  }
  return parsed.stages;
}

/** `updates: 900 before, 30 now`; content hashes only say whose content it is. */
function differences(before: JsonObject, now: JsonObject): string[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const words = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null));
  return keys
    .filter((key) => words(before[key]) !== words(now[key]))
    .map((key) =>
      key.startsWith('the ') ? `${key} changed` : `${key}: ${words(before[key])} before, ${words(now[key])} now`,
    );
}
