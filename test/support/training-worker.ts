/** A worker thread that trains a tiny GPT with an engine of its own, for `training-workers.test.ts`. */

import { parentPort, workerData } from 'node:worker_threads';
import { type RunOptions, runTiny } from './tiny-run.ts';

const { losses } = await runTiny(workerData as RunOptions);
parentPort?.postMessage(losses);
