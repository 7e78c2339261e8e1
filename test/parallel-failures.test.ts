/** What several ranks refuse before anything starts, and how a run ends when one of them fails. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError, type MegatronError, UsageError } from '../src/base/errors.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { RankFailure } from '../src/comm/errors.ts';
import { launch } from '../src/comm/launch.ts';
import { selfCommunicator } from '../src/comm/self.ts';
import { GptModel } from '../src/model/gpt.ts';
import { DivergenceError } from '../src/train/step.ts';
import { megatron, startMegatron } from './support/command.ts';
import type { Failing, ways } from './support/ranks/failing.rank.ts';
import { tinyConfig } from './support/tiny-gpt.ts';
import { runTinyOnRanks } from './support/tiny-ranks.ts';
import { type RunOptions, tinyArguments } from './support/tiny-run.ts';

describe('sizes that do not divide are refused before anything starts, with sizes that work', () => {
  it.each<[string, RunOptions, RegExp]>([
    [
      'heads',
      { numAttentionHeads: 2, tensorModelParallelSize: 4, nprocPerNode: 4 },
      /--num-attention-heads 2 cannot be split over --tensor-model-parallel-size 4[\s\S]*for example --num-attention-heads 4\b/,
    ],
    [
      'heads, of which more would be nearest',
      { numAttentionHeads: 8, tensorModelParallelSize: 3, nprocPerNode: 3 },
      /--num-attention-heads 8 cannot be split over --tensor-model-parallel-size 3[\s\S]*--num-attention-heads 9\b/,
    ],
    [
      'ranks',
      { tensorModelParallelSize: 2, nprocPerNode: 5 },
      /--nproc-per-node 5 is no multiple of --tensor-model-parallel-size 2[\s\S]*Start [46] ranks/,
    ],
    [
      'one rank alone',
      { tensorModelParallelSize: 2 },
      /one rank does not divide into tensor groups of 2[\s\S]*Start 2 ranks/,
    ],
  ])('%s', async (_, options, message) => {
    using folder = temporaryFolder();
    const save = join(folder.path, 'run');
    const { code, stderr } = await megatron(tinyArguments({ ...options, save }));
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(2);
    expect(existsSync(save)).toBe(false);
  });

  it('the batch, before data are opened or anything is saved', async () => {
    using folder = temporaryFolder();
    const save = join(folder.path, 'run');
    const options = { microBatchSize: 2, globalBatchSize: 12, save, mockData: false, dataPath: '/no/such/file' };
    const error: unknown = await runTinyOnRanks({ tensor: 1, data: 4 }, { ...options, vocabSize: 67 }).catch((e) => e);
    expect(error).toBeInstanceOf(RankFailure);
    expect((error as RankFailure).cause).toBeInstanceOf(UsageError);
    expect((error as RankFailure).message).toContain(
      'a global batch of 12 cannot be cut into micro-batches of 2 for 4 data-parallel ranks',
    );
    expect((error as RankFailure).remedy).toMatch(/multiple of 8, for example --global-batch-size 16\b/);
    expect(existsSync(save)).toBe(false);
  });

  it('the feed-forward width, which a library user may choose', () => {
    const group = { ...selfCommunicator(), size: 2 };
    const model = (): GptModel => new GptModel(tinyConfig({ ffnHiddenSize: 63 }), group);
    expect(model).toThrow(UsageError);
    expect(model).toThrow(/mlp\.linear_fc1, 63 cannot be split over 2/);
    expect(model).toThrow(expect.objectContaining({ remedy: expect.stringContaining('62 or 64') }));
  });
});

describe('a rank that fails in training (T=2, D=2)', () => {
  const module = new URL('./support/ranks/failing.rank.ts', import.meta.url);

  /** How the run ends, which must be within the five seconds that are promised. */
  async function failureOf(way: (typeof ways)[number], culprit: number): Promise<RankFailure> {
    const clock = new SharedArrayBuffer(8);
    const work: Failing = { way, culprit, clock };
    const error: unknown = await launch(4, module, work, { threadsPerRank: 1 }).then(
      () => new Error('the run succeeded'),
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof RankFailure)) throw error;
    const failedAt = new Float64Array(clock)[0] ?? 0;
    if (failedAt > 0) expect(Date.now() - failedAt).toBeLessThan(5000);
    return error;
  }

  it('ends the others with its error and its remedy', async () => {
    const error = await failureOf('throws', 3);
    expect(error).toMatchObject({ rank: 3, message: 'rank 3 failed: sample 9 is damaged', remedy: 'Make it anew.' });
    expect(error.cause).toBeInstanceOf(DataError);
  });

  it('ends others that compute and listen to nobody', async () => {
    expect(await failureOf('throws in an empty loop', 1)).toMatchObject({ rank: 1 });
  });

  it('is missed when its thread ends', async () => {
    expect((await failureOf('ends its thread', 2)).message).toMatch(
      /^rank 2 failed: its thread ended with exit code 0/,
    );
  });

  it('spreads a NaN, and all stop with that as the reason', async () => {
    const { message, cause } = await failureOf('has a NaN in its weights', 1);
    expect(message).toMatch(/^rank \d failed: training diverged: loss NaN/);
    expect((cause as MegatronError).remedy).toMatch(/lower --lr/);
    expect((cause as Error).name).toBe(DivergenceError.name);
  });

  it('gives the command an exit code and one message', async () => {
    const options = { lr: 1e30, clipGrad: 0, lrWarmupIters: 0, tensorModelParallelSize: 2, nprocPerNode: 4 };
    const { code, stderr } = await startMegatron(tinyArguments(options)).finished;
    expect(code).toBe(1);
    expect(stderr.match(/training diverged/g)).toHaveLength(1);
    expect(stderr).toMatch(/rank \d failed: training diverged[\s\S]*lower --lr/);
  });
});
