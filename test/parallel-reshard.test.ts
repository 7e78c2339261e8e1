/** A run that goes on in another layout: the same losses, and not a bit of weights or optimizer lost on the way. */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/checkpoint/index.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { launch } from '../src/comm/launch.ts';
import { noCpuEngine } from './support/engines.ts';
import { runTinyOnRanks } from './support/tiny-ranks.ts';
import { metricsOf, type RunOptions } from './support/tiny-run.ts';

/** Dropout, accumulation, a learning rate that moves, validations, an odd vocabulary. */
const options: RunOptions = {
  ...{ numAttentionHeads: 4, seqLength: 24, microBatchSize: 1, globalBatchSize: 4, trainIters: 12, lrDecayIters: 12 },
  ...{ evalInterval: 4, evalIters: 1, saveInterval: 4 },
};

let folder: ReturnType<typeof temporaryFolder>;

/** Trains in a layout, from a checkpoint on where one is given. @returns its folder */
async function train(name: string, tensor: number, data: number, more: RunOptions = {}): Promise<string> {
  const save = join(folder.path, name);
  await runTinyOnRanks({ tensor, data }, { ...options, save, ...more });
  return save;
}

const checkpointOf = (run: string, iteration: number): string =>
  join(run, `iter_${String(iteration).padStart(7, '0')}`);

/** Names of the tensors that are not the same to the last bit. */
function differing(one: string, other: string): string[] {
  using a = openCheckpoint(one);
  using b = openCheckpoint(other);
  expect(a.names()).toEqual(b.names());
  expect(a.names().filter((name) => name.startsWith('optimizer.exp_avg_sq.')).length).toBeGreaterThan(20);
  return a.names().filter((name) => Buffer.compare(a.read(name), b.read(name)) !== 0);
}

/** Largest relative difference of training and validation losses, over the iterations of `run`. */
function lossDifference(run: string, whole: string): number {
  const [found, all] = [metricsOf(run), metricsOf(whole)];
  const differences = found.flatMap(({ iteration, lmLoss, validLoss, learningRate, consumedTokens }) => {
    const expected = all.find((record) => record.iteration === iteration);
    expect(expected).toMatchObject({ learningRate, consumedTokens });
    expect(validLoss === undefined).toBe(expected?.validLoss === undefined);
    const loss = expected?.lmLoss ?? 0;
    return [Math.abs(lmLoss - loss) / loss, Math.abs((validLoss ?? 0) - (expected?.validLoss ?? 0)) / loss];
  });
  expect(differences.length).toBeGreaterThan(7); // at least four iterations
  return Math.max(...differences);
}

describe.skipIf(noCpuEngine)('a run that is resharded', () => {
  /** T=2, D=2, twelve iterations without a stop. */
  let whole: string;

  beforeAll(async () => {
    folder = temporaryFolder();
    whole = await train('whole', 2, 2);
  });
  afterAll(() => folder?.[Symbol.dispose]());

  it('(2,2) → (4,1) → (1,1): the losses go on as without a stop', async () => {
    const second = await train('second', 4, 1, { load: checkpointOf(whole, 4), trainIters: 8 });
    const third = await train('third', 1, 1, { load: second });
    // tiny as the model is, only the order of float32 additions differs
    expect(lossDifference(second, whole)).toBeLessThanOrEqual(1e-5);
    expect(lossDifference(third, whole)).toBeLessThanOrEqual(1e-5);
    expect(metricsOf(third).map(({ iteration }) => iteration)).toEqual([9, 10, 11, 12]);
  });

  it('(2,2) → (2,2): the same bits as without a stop', async () => {
    const again = await train('again', 2, 2, { load: checkpointOf(whole, 4) });
    expect(metricsOf(again)).toEqual(metricsOf(whole).slice(4));
    expect(differing(checkpointOf(again, 12), checkpointOf(whole, 12))).toEqual([]);
  });

  it('has the same weights and optimizer in every layout, to the bit', async () => {
    const module = new URL('./support/ranks/reshard.rank.ts', import.meta.url);
    let from = whole;
    for (const [tensor, data] of [
      [4, 1],
      [1, 1],
      [2, 1],
      [1, 3],
    ] as const) {
      const to = join(folder.path, `resharded ${tensor} ${data}`);
      await launch(tensor * data, module, { from, to, tensorParallelSize: tensor });
      expect(differing(to, whole), `T=${tensor} D=${data}`).toEqual([]);
      using checkpoint = openCheckpoint(to);
      const shards = checkpoint.manifest.files.filter(({ name }) => name.startsWith('optimizer-'));
      expect(shards).toHaveLength(tensor); // each tensor rank wrote its own, data-parallel copies nothing
      from = to;
    }
  });
});
