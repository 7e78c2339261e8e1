/** Launches ranks as threads of this process: nothing to install, and memory that all of them can reach. */

import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { MegatronError, messageOf, UsageError } from '../base/errors.ts';
import { orderNcclLaunches } from '../ffi/cuda/nccl.ts';
import { letThreadsSleep } from '../ffi/native.ts';
import { createRun } from './threads/communicator.ts';
import { OutputOrder } from './threads/output.ts';
import type { RankMessage, RankSetup } from './threads/rank-messages.ts';
import type { SharedRun } from './threads/shared-run.ts';

export interface LaunchOptions {
  /** Asks the ranks to end in good order; they see it as `run.stopRequested`. */
  readonly signal?: AbortSignal;
  /** Checks before each collective that all ranks make the same call. */
  readonly debugCollectives?: boolean;
  /** Threads of each rank's engine; the cores shared out evenly where not given (`MEGATRON_THREADS`). */
  readonly threadsPerRank?: number;
  /** Limits of each rank's JavaScript memory; tensors of the cpu engine are outside of it. */
  readonly resourceLimits?: ResourceLimits;
  /** Where the ranks' output goes; this process' own streams where not given. */
  readonly stdout?: { write(text: Uint8Array): unknown };
  readonly stderr?: { write(text: Uint8Array): unknown };
}

/** After a failure the other ranks have this long to notice it and clean up; then their threads are ended. */
const graceMilliseconds = 1500;
/** A rank that has returned has this long to close what it left open. */
const lingerMilliseconds = 500;

/**
 * Runs the default export of `module`, a `RankFunction`, on `worldSize` threads.
 *
 * @param module a file URL (`new URL('./rank.ts', import.meta.url)`) or path
 * @param data handed to every rank by structured clone
 * @returns what the ranks returned, in rank order, when all threads have ended
 * @throws RankFailure with the first rank's error as its cause, when all threads have ended: within seconds, whatever the
 *   other ranks are doing
 */
export async function launch<Result = unknown>(
  worldSize: number,
  module: URL | string,
  data?: unknown,
  options: LaunchOptions = {},
): Promise<Result[]> {
  if (!Number.isInteger(worldSize) || worldSize < 1) {
    throw new UsageError(`cannot launch ${worldSize} ranks`, { remedy: 'Give a whole number of ranks, 1 or more.' });
  }
  const { run, worldOffset } = createRun(worldSize);
  const setup: Omit<RankSetup, 'rank'> = {
    memory: run.memory,
    worldOffset,
    module: moduleUrl(module),
    data,
    debugCollectives: options.debugCollectives ?? false,
  };
  const threads = options.threadsPerRank ?? Math.max(1, Math.floor(availableParallelism() / worldSize));
  // once, before there are threads that read the environment
  letThreadsSleep();
  orderNcclLaunches();
  const env = { ...process.env };
  if (options.threadsPerRank !== undefined || !env['MEGATRON_THREADS']) env['MEGATRON_THREADS'] = String(threads);

  const requestStop = (): void => run.requestStop();
  if (options.signal?.aborted) requestStop();
  options.signal?.addEventListener('abort', requestStop, { once: true });

  const output = new OutputOrder(({ stream, text }) => (options[stream] ?? process[stream]).write(text));
  const workers: Worker[] = [];
  const endAll = (): void => {
    for (const worker of workers) void worker.terminate();
  };
  let grace: NodeJS.Timeout | undefined;
  const onFailure = (): void => {
    grace ??= setTimeout(endAll, graceMilliseconds);
  };
  try {
    const results = await Promise.all(
      Array.from({ length: worldSize }, (_, rank) => {
        const worker = startRank({ ...setup, rank }, env, options);
        workers.push(worker);
        return watchRank(worker, rank, run, output, onFailure);
      }),
    );
    output.flush();
    const failure = run.failure();
    if (failure) throw failure;
    return results as Result[];
  } finally {
    clearTimeout(grace);
    endAll();
    options.signal?.removeEventListener('abort', requestStop);
  }
}

function moduleUrl(module: URL | string): string {
  if (module instanceof URL) return module.href;
  return /^[a-z][a-z+.-]+:/i.test(module) ? module : pathToFileURL(module).href;
}

function startRank(setup: RankSetup, env: NodeJS.ProcessEnv, options: LaunchOptions): Worker {
  // The sources run as .ts and the package as .js; a worker's file is of the same kind as this one.
  const entry = new URL(
    import.meta.url.endsWith('.ts') ? './threads/worker.ts' : './threads/worker.js',
    import.meta.url,
  );
  // Threads inherit Node's own options; this one is refused there, and library users may run from `--eval`.
  const execArgv = process.execArgv.filter((option) => !option.startsWith('--input-type'));
  const name = `rank ${setup.rank}`;
  const rankEnvironment = { ...env, MEGATRON_LOCAL_RANK: String(setup.rank) }; // chooses its GPU
  const limits = options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits };
  try {
    return new Worker(entry, {
      workerData: setup,
      execArgv,
      env: rankEnvironment,
      name,
      stdout: true,
      stderr: true,
      ...limits,
    });
  } catch (error) {
    throw new UsageError(`the data cannot be handed to the ranks: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Give plain data: no functions, tensors or communicators.',
    });
  }
}

/** Resolves with the rank's result when its thread has ended, whichever way; a failure stands in the run's memory then. */
function watchRank(
  worker: Worker,
  rank: number,
  run: SharedRun,
  output: OutputOrder,
  onFailure: () => void,
): Promise<unknown> {
  return new Promise((resolve) => {
    let value: unknown;
    let hasEnded = false;
    let linger: NodeJS.Timeout | undefined;
    worker.on('message', (message: RankMessage) => {
      if (message.type === 'output') {
        output.add(message);
        return;
      }
      hasEnded = true;
      if (message.type === 'returned') value = message.value;
      else onFailure();
      linger = setTimeout(() => void worker.terminate(), lingerMilliseconds);
    });
    const fail = (error: unknown): void => {
      run.fail(rank, error);
      onFailure();
    };
    worker.on('error', (error) => {
      // errors thrown outside the rank function: a timer's, a forgotten promise's, memory that ran out
      if (!hasEnded) fail(error);
    });
    worker.on('messageerror', (error) =>
      fail(new MegatronError(`a rank's result cannot be read: ${messageOf(error)}`)),
    );
    worker.on('exit', (code) => {
      clearTimeout(linger);
      if (!hasEnded) {
        fail(
          new MegatronError(`its thread ended with exit code ${code} before the rank function returned`, {
            remedy: 'Did the rank call process.exit? Throw an error instead, so that the reason is known.',
          }),
        );
      }
      resolve(value);
    });
  });
}
