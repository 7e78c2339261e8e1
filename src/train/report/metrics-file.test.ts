/** `metrics.jsonl` through runs that die and go on. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DataError } from '../../base/errors.ts';
import { type IterationMetrics, MetricsFile, metricsLine, readMetrics } from './metrics-file.ts';

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-metrics-'));
  path = join(folder, 'save', 'metrics.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const metrics = (iteration: number, extra: Partial<IterationMetrics> = {}): IterationMetrics => ({
  memoryBytes: 1e9,
  iteration,
  consumedTokens: iteration * 4096,
  lmLoss: 10 / 3 / iteration,
  learningRate: 1.5e-4,
  gradNorm: 1,
  lossScale: 65536,
  skippedIterations: 0,
  elapsedMs: 12.5,
  tokensPerSecond: 1000,
  modelTflops: 0.5,
  ...extra,
});

function write(resumeIteration: number, iterations: readonly number[], extra: Partial<IterationMetrics> = {}): void {
  using file = new MetricsFile(path, resumeIteration);
  for (const iteration of iterations) file.append(metrics(iteration, extra));
  file.flush();
}

const iterations = (): number[] => readMetrics(path).map((line) => line.iteration);

test('fields have one order, and numbers keep every bit', () => {
  expect(metricsLine(metrics(2, { validPpl: 2, validLoss: 1 }))).toBe(
    '{"iteration":2,"consumedTokens":8192,"lmLoss":1.6666666666666667,"learningRate":0.00015,"gradNorm":1,"lossScale":65536,"skippedIterations":0,' +
      '"elapsedMs":12.5,"tokensPerSecond":1000,"modelTflops":0.5,"memoryBytes":1000000000,"validLoss":1,"validPpl":2}',
  );
  fc.assert(
    fc.property(fc.double({ noDefaultInfinity: true, noNaN: true }), (lmLoss) => {
      write(0, [1], { lmLoss });
      const read = readMetrics(path)[0]?.lmLoss;
      // JSON has no negative zero.
      expect(read).toBe(lmLoss === 0 ? 0 : lmLoss);
      rmSync(path);
    }),
    { numRuns: 100, seed: 5 },
  );
});

test('what is no number is null in the file and NaN when read', () => {
  write(0, [1], { gradNorm: Number.POSITIVE_INFINITY, lmLoss: Number.NaN });
  expect(readFileSync(path, 'utf8')).toContain('"lmLoss":null,"learningRate":0.00015,"gradNorm":null');
  expect(readMetrics(path)[0]?.gradNorm).toBeNaN();
});

test('a resumed run drops the lines of the dead one and goes on', () => {
  write(0, [1, 2, 3, 4, 5, 6]);
  write(4, [5, 6, 7], { lmLoss: 0.5 });
  expect(readMetrics(path).map((line) => [line.iteration, line.lmLoss === 0.5])).toEqual([
    [1, false],
    [2, false],
    [3, false],
    [4, false],
    [5, true],
    [6, true],
    [7, true],
  ]);
});

test('a line torn at any byte is repaired, and nothing before it is touched', () => {
  write(0, [1, 2, 3]);
  const whole = readFileSync(path);
  const lastLine = whole.lastIndexOf('\n', whole.byteLength - 2) + 1;
  for (let end = lastLine; end <= whole.byteLength; end += end < whole.byteLength - 10 ? 9 : 1) {
    writeFileSync(path, whole.subarray(0, end));
    // Whole but for its line break, it is kept.
    const kept = end >= whole.byteLength - 1 ? [1, 2, 3] : [1, 2];
    expect(iterations()).toEqual(kept);
    write(3, [4]);
    expect(iterations()).toEqual([...kept, 4]);
    expect(readFileSync(path).subarray(0, lastLine)).toEqual(whole.subarray(0, lastLine));
  }
});

test('a new run keeps the old file aside', () => {
  write(0, [1, 2]);
  write(0, [1]);
  write(0, []);
  expect(readdirSync(join(folder, 'save')).sort()).toEqual(['metrics.1.jsonl', 'metrics.2.jsonl', 'metrics.jsonl']);
  expect(readMetrics(join(folder, 'save', 'metrics.1.jsonl'))).toHaveLength(2);
});

test('damage in the middle is an error with its line, and the file stays as it was', () => {
  write(0, [1, 2, 3]);
  const damaged = readFileSync(path, 'utf8').replace('{"iteration":2', '{"iteration":?');
  writeFileSync(path, damaged);
  expect(() => write(3, [4])).toThrow(DataError);
  expect(() => readMetrics(path)).toThrow(/metrics.jsonl, line 2/);
  expect(readFileSync(path, 'utf8')).toBe(damaged);
});
