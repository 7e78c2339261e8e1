/** What `--micro-batch-size auto` chooses at a given memory, and what it says. */

import { describe, expect, it } from 'vitest';
import { EngineError, UsageError } from '../base/errors.ts';
import { simulatedCommunicator } from '../comm/simulated.ts';
import { parseCommandLine } from '../config/command.ts';
import { parseConfig } from '../config/config-file.ts';
import { type PretrainGptConfig, pretrainGptCommand } from '../config/pretrain-gpt.ts';
import type { RankGrid } from '../parallel/grid.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { expectedPeak, memoryPlanOf } from './expected-memory.ts';
import { modelOfRun } from './gpt-architecture.ts';
import { chooseMicroBatchSize, memoryForEachRank, reserveBytes } from './micro-batch-size.ts';

/** A medium model: a sample takes some hundred MiB. */
const size = ['--num-layers', '6', '--hidden-size', '512', '--num-attention-heads', '8', '--seq-length', '512'];

function configOf(...more: string[]): PretrainGptConfig {
  const words = ['--mock-data', '--vocab-size', '30000', ...size, '--micro-batch-size', 'auto', ...more];
  const line = parseCommandLine(pretrainGptCommand, words);
  if (line.help) throw new Error('no help was asked for');
  return line.config;
}

const gridOf = (tensor: number, data: number): RankGrid => ({
  world: simulatedCommunicator(0, tensor * data, 'world'),
  tensor: simulatedCommunicator(0, tensor, 'tensor group'),
  data: simulatedCommunicator(0, data, 'data group'),
});

/** A reference engine, whose memory is counted like the cpu engine's. */
const engine = createReferenceEngine();

/** What a micro-batch of this size takes. */
function need(config: PretrainGptConfig, grid: RankGrid, microBatchSize: number): number {
  return (
    expectedPeak(memoryPlanOf({ ...config, microBatchSize }, modelOfRun(config, 30000), grid, engine)).held +
    reserveBytes
  );
}

const choose = (config: PretrainGptConfig, grid: RankGrid, bytes: number) =>
  chooseMicroBatchSize(config, modelOfRun(config, 30000), grid, engine, bytes);

describe('the micro-batch size that fits', () => {
  const config = configOf('--global-batch-size', '24');

  it('is the largest divisor of a rank’s samples, to the byte', () => {
    const grid = gridOf(1, 1);
    for (const [fits, next] of [
      [1, 2],
      [2, 3],
      [4, 6],
      [12, 24],
    ] as const) {
      const bytes = need(config, grid, next);
      expect(choose(config, grid, bytes - 1).microBatchSize).toBe(fits);
      expect(choose(config, grid, bytes).microBatchSize).toBe(next);
    }
    expect(choose(config, grid, 2 ** 50).microBatchSize).toBe(24);
  });

  it('is of a rank’s share of the global batch, and larger where ranks split the model', () => {
    const bytes = need(config, gridOf(1, 1), 4);
    expect(choose(config, gridOf(1, 4), bytes).microBatchSize).toBe(3);
    expect(choose(config, gridOf(2, 1), bytes).microBatchSize).toBeGreaterThan(4);
    expect(choose(config, gridOf(1, 4), 2 ** 50).microBatchSize).toBe(6);
  });

  it('is larger with recomputation, and in bf16', () => {
    const grid = gridOf(1, 1);
    const bytes = need(config, grid, 4);
    for (const option of [['--recompute-granularity', 'full'], ['--bf16']]) {
      expect(choose(configOf('--global-batch-size', '24', ...option), grid, bytes).microBatchSize).toBeGreaterThan(4);
    }
  });

  it('is told with its reason', () => {
    const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
    const grid = gridOf(1, 1);
    const [four, six] = [need(config, grid, 4), need(config, grid, 6)];
    expect(choose(config, grid, six - 1).words).toBe(
      `micro-batch size 4: ${gibibytes(four)} expected of ${gibibytes(six)}; 6 would need ${gibibytes(six)}`,
    );
    expect(choose(config, gridOf(1, 2), 2 ** 40).words).toMatch(
      /^micro-batch size 12: .* expected of 1.00 TiB for each rank; all samples that a rank has of an update$/,
    );
  });
});

describe('memory for not even one sample', () => {
  const config = configOf('--global-batch-size', '24');

  it('is an error that says what would help, and how much', () => {
    const grid = gridOf(1, 1);
    const refused = () => choose(config, grid, need(config, grid, 1) - 1);
    expect(refused).toThrow(EngineError);
    expect(refused).toThrow(/^one sample at a time takes [\d.]+ MiB, and there are [\d.]+ MiB$/);
    const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    const full = need(configOf('--global-batch-size', '24', '--recompute-granularity', 'full'), grid, 1);
    const bf16 = need(configOf('--global-batch-size', '24', '--bf16'), grid, 1);
    const remedy = expect.stringContaining(
      `It would take ${mebibytes(full)} with --recompute-granularity full; ${mebibytes(bf16)} with --bf16; ` +
        `${mebibytes(need(config, gridOf(2, 1), 1))} with --tensor-model-parallel-size 2 (on each rank); `,
    );
    expect(refused).toThrow(expect.objectContaining({ remedy }));
  });

  it('does not name what is in use, or cannot be', () => {
    // 8 heads are not to be split over 16 ranks
    const all = configOf('--global-batch-size', '24', '--recompute-granularity', 'full', '--bf16');
    const refused = () => choose(all, gridOf(8, 1), 1);
    expect(refused).toThrow(expect.objectContaining({ remedy: expect.stringMatching(/^Or use a smaller model/) }));
  });
});

describe('memory for each rank', () => {
  const config = configOf('--global-batch-size', '24', '--memory-limit', '12GiB');

  it('is the machine’s, shared by its ranks', () => {
    expect(memoryForEachRank(config, gridOf(1, 1), engine)).toBe(12 * 2 ** 30);
    expect(memoryForEachRank(config, gridOf(2, 2), engine)).toBe(3 * 2 ** 30);
    const free = memoryForEachRank(configOf('--global-batch-size', '24'), gridOf(1, 1), engine);
    expect(free).toBeGreaterThan(2 ** 20);
  });

  it('is that of the rank with least, the same on all', () => {
    const hosts = [
      { place: 'a', bytes: 8e9 },
      { place: 'a', bytes: 7e9 },
      { place: 'b', bytes: 5e9 },
    ];
    const world = { ...simulatedCommunicator(0, 3, 'world'), exchange: <Value>(): Value[] => hosts as Value[] };
    expect(memoryForEachRank(config, { ...gridOf(1, 3), world }, engine)).toBe(3.5e9);
  });
});

describe('the options', () => {
  it.each([
    [[], /auto needs --global-batch-size/],
    [['--global-batch-size', '8', '--memory-limit', '12 gigs'], /--memory-limit "12 gigs" is no size/],
    [['--global-batch-size', '8', '--memory-limit', '0GiB'], /--memory-limit "0GiB" is no size/],
  ])('%j are refused', (more, message) => {
    expect(() => configOf(...more)).toThrow(UsageError);
    expect(() => configOf(...more)).toThrow(message);
  });

  it('are a number or the word', () => {
    const parse = (word: string) => () =>
      parseCommandLine(pretrainGptCommand, ['--mock-data', '--micro-batch-size', word, '--global-batch-size', '8']);
    expect(parse('8')()).toMatchObject({ config: { microBatchSize: 8 } });
    expect(parse('auto')()).toMatchObject({ config: { microBatchSize: 'auto', globalBatchSize: 8 } });
    const yaml = 'mock-data: true\nmicro-batch-size: auto\nmemory-limit: 12GiB\nglobal-batch-size: 8\n';
    const { config } = pretrainGptCommand.configure(parseConfig(yaml, 'a.yaml', pretrainGptCommand.flags));
    expect(config).toMatchObject({ microBatchSize: 'auto', memoryLimit: 12 * 2 ** 30 });
    expect(parse('Auto')).toThrow('--micro-batch-size needs a number or auto, not "Auto"');
    expect(parse('0')).toThrow('--micro-batch-size must be at least 1, not 0');
    expect(parse('1.5')).toThrow('--micro-batch-size needs a whole number, not 1.5 (or auto)');
    const limit = ['--mock-data', '--memory-limit', '1GiB'];
    expect(() => parseCommandLine(pretrainGptCommand, limit)).toThrow('--memory-limit has no effect without');
  });
});
