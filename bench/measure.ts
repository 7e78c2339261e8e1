/** What every benchmark shares: medians, the machine, options, and where results go. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { UsageError } from '../src/base/errors.ts';

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Milliseconds that `body` takes. */
export function timed(body: () => void): number {
  const start = performance.now();
  body();
  return performance.now() - start;
}

export const machine = (): Record<string, unknown> => ({
  processor: cpus()[0]?.model,
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release()}`,
  node: process.version,
});

/** Prints a result, unless `quiet`, and keeps it in bench/results/. */
export function report(name: string, result: object, { quiet = false } = {}): void {
  const text = `${JSON.stringify({ benchmark: name, date: new Date().toISOString(), machine: machine(), ...result }, null, 2)}\n`;
  const folder = new URL('./results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${name}.json`, folder), text);
  if (!quiet) process.stdout.write(text);
}

/** Options `--name value` with their defaults. @throws UsageError for one that is unknown. */
export function benchmarkOptions<Defaults extends Record<string, string>>(
  args: readonly string[],
  defaults: Defaults,
): Record<keyof Defaults, string> {
  const options = Object.fromEntries(Object.keys(defaults).map((key) => [key, { type: 'string' as const }]));
  try {
    const { values } = parseArgs({ args: [...args], options });
    return { ...defaults, ...values };
  } catch (error) {
    const known = Object.entries(defaults).map(([key, value]) => `--${key} ${value}`);
    throw new UsageError(`${(error as Error).message} Options and defaults: ${known.join(' ')}`, { cause: error });
  }
}
