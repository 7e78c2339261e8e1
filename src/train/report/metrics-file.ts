/** `metrics.jsonl`: one JSON object per logged iteration, exact to the bit, that goes on where a dead run's checkpoint ends. */

import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { DataError } from '../../base/errors.ts';
import { fileError, writeFileAtomically, writeFully } from '../../base/files.ts';

/** One logged iteration. A figure that is no finite number is written as null, the one thing JSON has for it, and read back as NaN. */
export interface IterationMetrics {
  readonly iteration: number;
  readonly consumedTokens: number;
  readonly lmLoss: number;
  readonly learningRate: number;
  readonly gradNorm: number;
  readonly lossScale: number;
  /** Since the line before. */
  readonly skippedIterations: number;
  readonly elapsedMs: number;
  readonly tokensPerSecond: number;
  /** By the causal-matmul convention. */
  readonly modelTflops: number;
  readonly memoryBytes: number;
  /** Where the iteration was evaluated. */
  readonly validLoss?: number;
  readonly validPpl?: number;
}

/** The order of the fields in every line. */
const fields = [
  'iteration',
  'consumedTokens',
  'lmLoss',
  'learningRate',
  'gradNorm',
  'lossScale',
  'skippedIterations',
  'elapsedMs',
  'tokensPerSecond',
  'modelTflops',
  'memoryBytes',
  'validLoss',
  'validPpl',
] as const satisfies readonly (keyof IterationMetrics)[];

/** A line of the file, without its line break. Numbers are the shortest text that reads back to the same bits. */
export function metricsLine(metrics: IterationMetrics): string {
  const present = fields.filter((field) => metrics[field] !== undefined);
  return JSON.stringify(Object.fromEntries(present.map((field) => [field, metrics[field]])));
}

function parseLine(line: string): IterationMetrics | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (
      typeof value !== 'object' ||
      value === null ||
      !Number.isSafeInteger((value as { iteration?: unknown }).iteration)
    )
      return undefined;
    return Object.fromEntries(
      Object.entries(value).map(([key, figure]) => [key, figure ?? Number.NaN]),
    ) as unknown as IterationMetrics;
  } catch {
    return undefined;
  }
}

interface ParsedLine {
  readonly text: string;
  readonly metrics: IterationMetrics;
}

/** Reads the lines of a file; a torn end, as a kill leaves it, is left out. */
function parseFile(path: string): ParsedLine[] {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(`cannot read ${path}`, error);
  }
  const texts = content.split('\n');
  const good: ParsedLine[] = [];
  for (const [index, text] of texts.entries()) {
    const metrics = parseLine(text);
    if (metrics !== undefined) {
      good.push({ text, metrics });
      continue;
    }
    // What follows the last line break is either nothing or torn; if it is whole, only its line break was lost.
    if (index === texts.length - 1) break;
    throw new DataError(
      `${path}, line ${index + 1}: no metrics of an iteration: ${JSON.stringify(text.slice(0, 60))}`,
      {
        remedy: 'Repair the line, or move the file away; a new one is then begun.',
      },
    );
  }
  return good;
}

/** All metrics of a file, in its order. @throws DataError for a damaged line that is not the last. */
export function readMetrics(path: string): IterationMetrics[] {
  return parseFile(path).map((line) => line.metrics);
}

/** A metrics file open for appending; `using` closes it. */
export class MetricsFile implements Disposable {
  readonly path: string;
  readonly #handle: number;
  #open = true;

  /**
   * @param resumeIteration the iteration of the checkpoint that the run goes on from: later lines, of the run that died, are dropped,
   *   and a torn last line is repaired. 0 is a new run: a file that is there is kept as `metrics.1.jsonl`, `metrics.2.jsonl`, ….
   * @throws MegatronError if the file cannot be written, DataError if it is damaged in the middle.
   */
  constructor(path: string, resumeIteration: number) {
    this.path = path;
    if (existsSync(path)) {
      if (resumeIteration === 0) keepAside(path);
      else repair(path, resumeIteration);
    }
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.#handle = openSync(path, 'a');
    } catch (error) {
      throw fileError(`cannot write ${path}`, error);
    }
  }

  /** Appends one line with a single write, so that another process sees it whole. */
  append(metrics: IterationMetrics): void {
    try {
      writeFully(this.#handle, Buffer.from(`${metricsLine(metrics)}\n`));
    } catch (error) {
      throw fileError(`cannot write ${this.path}`, error);
    }
  }

  /** Forces the lines to the disk; call it before a checkpoint of the same iteration is committed. */
  flush(): void {
    try {
      fsyncSync(this.#handle);
    } catch (error) {
      throw fileError(`cannot write ${this.path}`, error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#open) closeSync(this.#handle);
    this.#open = false;
  }
}

function keepAside(path: string): void {
  if (readFileSync(path).byteLength === 0) return;
  for (let number = 1; ; number++) {
    const aside = path.replace(/(\.jsonl)?$/, `.${number}$1`);
    if (existsSync(aside)) continue;
    renameSync(path, aside);
    return;
  }
}

function repair(path: string, resumeIteration: number): void {
  const kept = parseFile(path).filter((line) => line.metrics.iteration <= resumeIteration);
  const content = kept.map((line) => `${line.text}\n`).join('');
  if (content !== readFileSync(path, 'utf8')) writeFileAtomically(path, content);
}
