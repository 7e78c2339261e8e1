/** Entry of a rank's thread: imports the rank's module, runs its function, and reports how it ended. */

import type { Writable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, UsageError } from '../../base/errors.ts';
import { checkedCommunicator } from '../checked.ts';
import { forDeviceTensors } from '../device-tensors.ts';
import { RankFailure } from '../errors.ts';
import type { RankFunction } from '../rank.ts';
import { selfCommunicator } from '../self.ts';
import { createWorld } from './communicator.ts';
import type { RankMessage, RankSetup } from './rank-messages.ts';
import { SharedRun } from './shared-run.ts';

const setup = workerData as RankSetup;
const run = new SharedRun(setup.memory);
const post = (message: RankMessage): void => parentPort?.postMessage(message);

// Node hands a thread's output on when its event loop turns, which a rank inside a long computation never lets it do.
forwardOutput(process.stdout, 'stdout');
forwardOutput(process.stderr, 'stderr');

try {
  const rankFunction = await importRankFunction(setup.module);
  const threads = run.size === 1 ? undefined : createWorld(run, setup.worldOffset, setup.rank);
  const world = threads ? forDeviceTensors(threads) : selfCommunicator();
  const seen = setup.debugCollectives ? checkedCommunicator(world) : world;
  const value = await rankFunction(seen, setup.data, {
    get stopRequested() {
      return run.stopRequested;
    },
  });
  if (threads !== undefined && threads.incomplete > 0) {
    throw new UsageError(`the rank returned with ${threads.incomplete} reductions started and not finished`, {
      remedy: 'Call finish() on everything that startAllReduce returned.',
    });
  }
  try {
    post({ type: 'returned', value });
  } catch (error) {
    throw new UsageError(`what the rank returned cannot be handed to the launching thread: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Return plain data: no functions, tensors or communicators.',
    });
  }
  run.finish(setup.rank);
} catch (error) {
  // a RankFailure is the echo of another rank's error
  if (!(error instanceof RankFailure)) run.fail(setup.rank, error);
  post({ type: 'failed' });
}

async function importRankFunction(module: string): Promise<RankFunction> {
  const exports = (await import(module)) as { default?: unknown };
  if (typeof exports.default !== 'function') {
    throw new UsageError(`${module} has no function as its default export`, {
      remedy: 'Write `export default function (world, data) { … }`: that is what every rank runs.',
    });
  }
  return exports.default as RankFunction;
}

function forwardOutput(stream: Writable, name: 'stdout' | 'stderr'): void {
  const forward = (chunk: string | Uint8Array, encoding: BufferEncoding): void =>
    post({
      ...{ type: 'output', ticket: run.takeOutputTicket(), stream: name },
      text: typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    });
  stream._write = (chunk: string | Uint8Array, encoding, done) => {
    forward(chunk, encoding);
    done();
  };
  stream._writev = (chunks, done) => {
    for (const { chunk, encoding } of chunks) forward(chunk as string | Uint8Array, encoding);
    done();
  };
}
