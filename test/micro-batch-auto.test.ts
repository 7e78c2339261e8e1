/** `--micro-batch-size auto` in whole runs: what is learnt, and in which order, does not depend on what fits. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { parseCommandLine } from '../src/config/command.ts';
import { pretrainGptCommand } from '../src/config/pretrain-gpt.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { expectedPeak, memoryPlanOf } from '../src/train/expected-memory.ts';
import { modelOfRun } from '../src/train/gpt-architecture.ts';
import { reserveBytes } from '../src/train/micro-batch-size.ts';
import { megatron } from './support/command.ts';
import { runTinyOnRanks } from './support/tiny-ranks.ts';
import { metricsOf, type RunOptions, runTiny, tinyArguments } from './support/tiny-run.ts';

const shape: RunOptions = { globalBatchSize: 8, trainIters: 12, seqLength: 32, device: 'reference' };

/** A limit under which micro-batches of this size fit to the byte. */
function limitFor(microBatchSize: number): number {
  const line = parseCommandLine(pretrainGptCommand, tinyArguments(shape).slice(2));
  if (line.help) throw new Error('no help was asked for');
  using engine = createReferenceEngine();
  const plan = memoryPlanOf({ ...line.config, microBatchSize }, modelOfRun(line.config, 67), soloGrid(), engine);
  return expectedPeak(plan).held + reserveBytes;
}

const auto = (microBatchSize: number): RunOptions => ({
  ...{ ...shape, microBatchSize: 'auto', memoryLimit: `${limitFor(microBatchSize)}` },
});

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

describe('a run that goes on with other memory', () => {
  it('reads the same samples in the same order', async () => {
    const [whole, parts] = [`${folder.path}/whole`, `${folder.path}/parts`];
    const validation = { evalInterval: 4, evalIters: 1, split: '9,1,0' };
    await runTiny({ ...shape, ...validation, microBatchSize: 2, save: whole });
    const first = await runTiny({ ...auto(1), ...validation, save: parts, exitInterval: 5 });
    const second = await runTiny({ ...auto(4), ...validation, save: parts, load: parts });
    expect(first.stderr).toMatch(/^micro-batch size 1: 256 MiB expected of 256 MiB; 2 would need 256 MiB$/m);
    expect(second.stderr).toMatch(/^micro-batch size 4: /m);
    expect(second.stderr).not.toContain('note: data');
    const [expected, found] = [metricsOf(whole), metricsOf(parts)];
    expect(found).toHaveLength(expected.length);
    for (const [i, { iteration, consumedTokens, lmLoss, validLoss }] of found.entries()) {
      const other = expected[i];
      expect({ iteration, consumedTokens }).toEqual({
        iteration: other?.iteration,
        consumedTokens: other?.consumedTokens,
      });
      // other samples change a loss by some hundredths; another order of float32 sums by this much
      expect(Math.abs(lmLoss / (other?.lmLoss ?? 0) - 1)).toBeLessThan(1e-5);
      expect(Math.abs((validLoss ?? 1) / (other?.validLoss ?? 1) - 1)).toBeLessThan(1e-5);
    }
  });
});

describe('several ranks', () => {
  it('choose alike, told once; what is measured is what was expected', async () => {
    const text = await runTinyOnRanks(
      { tensor: 2, data: 2 },
      { ...shape, microBatchSize: 'auto', memoryLimit: '8GiB' },
    );
    expect(text.match(/^micro-batch size .*/gm)).toEqual([
      expect.stringMatching(/^micro-batch size 4: 25\d MiB expected of 2.00 GiB for each rank; all samples/),
    ]);
    expect(text).toContain('iteration       12/      12 | consumed samples:           96 |');
    const kibibytes = (pattern: RegExp): number[] => [...text.matchAll(pattern)].map((match) => Number(match[1]));
    const [expected = 0] = kibibytes(/^memory of each rank: expected peak ([\d.]+) KiB/gm);
    const measured = kibibytes(/^rank \d: measured peak ([\d.]+) KiB/gm);
    expect(expected).toBeGreaterThan(0);
    expect(measured).toHaveLength(4);
    for (const peak of measured) expect(Math.abs(peak / expected - 1)).toBeLessThan(0.02);
  });
});

describe('a run of one rank', () => {
  it('begins with what it will take, and takes it', async () => {
    const { stderr } = await runTiny(shape);
    const expected = /^memory: expected peak ([\d.]+ .iB) \(parameters /m.exec(stderr)?.[1];
    expect(expected).toBeDefined();
    expect(/peak memory ([\d.]+ .iB)/.exec(stderr)?.[1]).toBe(expected);
  });

  it('that does not fit ends with what would', async () => {
    const { code, stderr } = await megatron(tinyArguments({ ...shape, microBatchSize: 'auto', memoryLimit: '200MiB' }));
    expect(stderr).toMatch(/one sample at a time takes 256 MiB, and there are 200 MiB/);
    expect(stderr).toMatch(/256 MiB with --recompute-granularity full; 256 MiB with --bf16;/);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(1);
  });
});
