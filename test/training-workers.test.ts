/** Engines share nothing: runs in several threads of one process are the runs they are alone. */

import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { noCpuEngine } from './support/engines.ts';
import { lockstep } from './support/lockstep.ts';
import { metricsOf, type RunOptions, runTiny } from './support/tiny-run.ts';
import type { TrainingWork } from './support/training-worker.ts';

/** Starts a run in a worker. */
function startWorker(workerData: TrainingWork) {
  const worker = new Worker(new URL('./support/training-worker.ts', import.meta.url), { workerData });
  const message = async (): Promise<unknown> => ((await once(worker, 'message')) as [unknown])[0];
  const ready = message();
  return { ready, losses: ready.then(message) };
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
    const memory = new SharedArrayBuffer(4);
    const workers = [second, third].map((options) => startWorker({ options, memory, threads: 3 }));
    const wait = lockstep(memory, 3);
    await Promise.all(workers.map(({ ready }) => ready));
    const { losses: inMain } = await runTiny(first, { events: { stepped: ({ iteration }) => wait(iteration) } });
    const inWorkers = await Promise.all(workers.map(({ losses }) => losses));
    for (const [i, losses] of [inMain, ...inWorkers].entries()) {
      const { losses: alone } = await runTiny({ ...runs[i], save: join(folder.path, `alone-${i}`) });
      expect(alone).toHaveLength(trainIters);
      expect(losses, `run ${i}`).toEqual(alone);
      expect(metricsOf(join(folder.path, `at-once-${i}`))).toEqual(metricsOf(join(folder.path, `alone-${i}`)));
    }
  });
});
