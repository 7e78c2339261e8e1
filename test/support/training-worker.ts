/** A worker thread that trains a tiny GPT with an engine of its own: says 'ready', then sends its losses. For `training-workers.test.ts`. */

import { parentPort, workerData } from 'node:worker_threads';
import { lockstep } from './lockstep.ts';
import { type RunOptions, runTiny } from './tiny-run.ts';

export interface TrainingWork {
  readonly options: RunOptions;
  readonly memory: SharedArrayBuffer;
  readonly threads: number;
}

// From here on it asks nothing of the main thread, which may stand still.
parentPort?.postMessage('ready');
const { options, memory, threads } = workerData as TrainingWork;
const wait = lockstep(memory, threads);
const { losses } = await runTiny(options, { events: { stepped: ({ iteration }) => wait(iteration) } });
parentPort?.postMessage(losses);
