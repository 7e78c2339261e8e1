/** Trains a little on an engine of this thread's own, and posts the loss and the gradient of every element. */

import { parentPort, workerData } from 'node:worker_threads';
import { trainOnce } from './training.ts';

const { threads } = workerData as { threads: number };
parentPort?.postMessage(await trainOnce(threads));
