/** Engines share nothing: runs in several threads of one process are the runs they are alone. */

import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { noCpuEngine } from './support/engines.ts';
import { metricsOf, type RunOptions, runTiny } from './support/tiny-run.ts';

async function runInWorker(options: RunOptions): Promise<number[]> {
  const worker = new Worker(new URL('./support/training-worker.ts', import.meta.url), { workerData: options });
  const [losses] = (await once(worker, 'message')) as [number[]];
  await once(worker, 'exit');
  return losses;
}

describe.each(['reference', 'cpu'])('two workers and the main thread, all training on the %s engine', (device) => {
  if (device === 'cpu' && noCpuEngine) {
    it.skip(noCpuEngine, () => {});
    return;
  }

  it('have bit for bit the losses that each has alone', { timeout: 120_000 }, async () => {
    using folder = temporaryFolder();
    const trainIters = device === 'cpu' ? 60 : 10;
    // other seeds, sizes and checkpoint folders: whatever they shared would show
    const runs: RunOptions[] = [
      { seed: 1, hiddenSize: 16 },
      { seed: 2, hiddenSize: 32, numLayers: 1 },
      { seed: 3, hiddenSize: 16 },
    ].map((run, i) => ({ ...run, device, trainIters, saveInterval: 5, save: join(folder.path, `at-once-${i}`) }));
    const [first = {}, second = {}, third = {}] = runs;
    const [inMain, ...inWorkers] = await Promise.all([
      runTiny(first).then(({ losses }) => losses),
      runInWorker(second),
      runInWorker(third),
    ]);
    for (const [i, losses] of [inMain, ...inWorkers].entries()) {
      const { losses: alone } = await runTiny({ ...runs[i], save: join(folder.path, `alone-${i}`) });
      expect(alone).toHaveLength(trainIters);
      expect(losses, `run ${i}`).toEqual(alone);
      expect(metricsOf(join(folder.path, `at-once-${i}`))).toEqual(metricsOf(join(folder.path, `alone-${i}`)));
    }
  });
});
