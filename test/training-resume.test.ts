/** A run that ends and goes on is the run that never ended, bit for bit. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/checkpoint/index.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { startMegatron } from './support/command.ts';
import { metricsOf, runTiny, tinyArguments } from './support/tiny-run.ts';
import { tinyText } from './support/tiny-text.ts';

/** Starting a process takes half a second on a free machine. */
const timeout = 120_000;

function iterationIn(folder: string): number {
  using checkpoint = openCheckpoint(folder);
  checkpoint.verify();
  return checkpoint.manifest.iteration;
}

describe('a resumed run', () => {
  it('equals the uninterrupted one: ten iterations, a save, a new process and ten more', { timeout }, async () => {
    using folder = temporaryFolder();
    const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
    const options = { trainIters: 20, evalInterval: 7, evalIters: 2, lrWarmupIters: 4 };
    const uninterrupted = startMegatron(tinyArguments({ ...options, save: whole }));
    const first = await startMegatron(tinyArguments({ ...options, save: parts, exitInterval: 10 })).finished;
    expect(first).toMatchObject({ code: 0 });
    expect(first.stderr).toContain(`stopped (exit interval) after iteration 10`);
    expect(first.stderr).toContain(`the same command with --load ${parts} goes on`);
    expect(iterationIn(parts)).toBe(10);
    const second = await startMegatron(tinyArguments({ ...options, save: parts, load: parts })).finished;
    expect(second.code, second.stderr).toBe(0);
    expect(second.stderr).toContain('going on after iteration 10');
    expect(await uninterrupted.finished).toMatchObject({ code: 0 });

    const metrics = metricsOf(whole);
    expect(metrics).toHaveLength(20);
    expect(metricsOf(parts)).toEqual(metrics);
    // the losses are real ones: they differ, and fall
    const losses = metrics.map(({ lmLoss }) => lmLoss);
    expect(new Set(losses).size).toBe(20);
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.1);
    expect(metrics.filter(({ validLoss }) => validLoss !== undefined)).toHaveLength(3);
  });

  it('logs the same means over several iterations, also after a run of fewer iterations', async () => {
    using folder = temporaryFolder();
    const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
    const options = { logInterval: 4, lrDecayIters: 20 };
    const { losses } = await runTiny({ ...options, trainIters: 20, save: whole });
    await runTiny({ ...options, trainIters: 10, save: parts });
    await runTiny({ ...options, trainIters: 14, save: parts, load: parts });
    await runTiny({ ...options, trainIters: 20, save: parts, load: parts });

    const lines = metricsOf(whole);
    expect(lines.map(({ iteration }) => iteration)).toEqual([4, 8, 12, 16, 20]);
    for (const { iteration, lmLoss } of lines) {
      expect(lmLoss).toBe(losses.slice(iteration - 4, iteration).reduce((sum, loss) => sum + loss, 0) / 4);
    }
    const resumed = metricsOf(parts);
    // each run ends with a line of its own
    expect(resumed.map(({ iteration }) => iteration)).toEqual([4, 8, 10, 12, 14, 16, 20]);
    expect(resumed.filter(({ iteration }) => iteration % 4 === 0)).toEqual(lines);
  });

  it('equals the uninterrupted one on real data: blended, over several epochs, documents kept apart', async () => {
    using folder = temporaryFolder();
    const blend = ['0.7', await tinyText(folder.path, 9, 'one'), '0.3', await tinyText(folder.path, 4, 'two')];
    const options = {
      ...{ mockData: undefined, vocabSize: undefined, tokenizerType: 'ByteLevel', dataPath: blend, split: '80,20' },
      ...{ resetPositionIds: true, resetAttentionMask: true, eodMaskLoss: true, trainIters: 40, saveInterval: 9 },
      ...{ evalInterval: 15, evalIters: 1 },
    };
    const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
    await runTiny({ ...options, save: whole });
    await runTiny({ ...options, save: parts, exitInterval: 25 });
    await runTiny({ ...options, save: parts, load: parts });
    expect(metricsOf(whole)).toHaveLength(40);
    expect(metricsOf(parts)).toEqual(metricsOf(whole));
  });

  it('has nothing left to do when it is finished, and says so', async () => {
    using folder = temporaryFolder();
    const { losses } = await runTiny({ trainIters: 3, save: folder.path });
    expect(losses).toHaveLength(3);
    const before = metricsOf(folder.path);
    const again = await runTiny({ trainIters: 3, save: folder.path, load: folder.path });
    expect(again).toMatchObject({ reason: 'finished', iteration: 3, losses: [] });
    expect(again.stderr).toContain('training finished: iteration 3');
    expect(metricsOf(folder.path)).toEqual(before);
  });

  it('may begin from an earlier checkpoint of the folder, or save elsewhere', async () => {
    using folder = temporaryFolder();
    const [save, elsewhere] = [join(folder.path, 'run'), join(folder.path, 'elsewhere')];
    const options = { trainIters: 6, saveInterval: 2 };
    const { losses } = await runTiny({ ...options, save });
    const metrics = metricsOf(save);
    const again = await runTiny({ ...options, save, load: join(save, 'iter_0000002') });
    expect(again.losses).toEqual(losses.slice(2));
    expect(metricsOf(save)).toEqual(metrics);
    const copy = await runTiny({ ...options, save: elsewhere, load: join(save, 'iter_0000004') });
    expect(copy.losses).toEqual(losses.slice(4));
    expect(metricsOf(elsewhere)).toEqual(metrics.slice(4));
  });
});

describe.each(['SIGTERM', 'SIGINT'] as const)('%s in the middle of a run', (signal) => {
  it('finishes the iteration, saves, exits with 0 and says how to go on', { timeout }, async () => {
    using folder = temporaryFolder();
    const endless = { trainIters: 1_000_000, save: folder.path };
    const run = startMegatron(tinyArguments(endless));
    await run.until('stdout', /iteration {8}5\//);
    run.process.kill(signal);
    const { code, stderr } = await run.finished;
    expect(code, stderr).toBe(0);
    const stopped = iterationIn(folder.path);
    expect(stopped).toBeGreaterThanOrEqual(5);
    expect(stderr).toContain(`stopped (signal) after iteration ${stopped}`);
    expect(stderr).toContain(`the same command with --load ${folder.path} goes on`);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(metricsOf(folder.path)).toHaveLength(stopped);

    const end = { exitInterval: stopped + 3 };
    const resumed = await runTiny({ ...endless, ...end, load: folder.path });
    expect(resumed.iteration).toBe(stopped + 3);
    const { losses } = await runTiny({ ...endless, ...end, save: undefined });
    expect(metricsOf(folder.path).map(({ lmLoss }) => lmLoss)).toEqual(losses);
  });
});

describe('--exit-duration-in-mins', () => {
  it('saves and exits after that time', async () => {
    using folder = temporaryFolder();
    const run = await runTiny({ trainIters: 1_000_000, exitDurationInMins: 0.002, save: folder.path });
    expect(run.reason).toBe('exit duration');
    expect(iterationIn(folder.path)).toBe(run.iteration);
    const next = await runTiny({ trainIters: 1_000_000, exitInterval: run.iteration + 1, load: folder.path });
    expect(next.iteration).toBe(run.iteration + 1);
  });
});
