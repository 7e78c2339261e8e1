/** A process as a rank of an MPI run: joining it, working, and leaving it together, also when a rank fails. */

import { availableParallelism, cpus } from 'node:os';
import { EngineError, MegatronError } from '../../base/errors.ts';
import { checkedCommunicator } from '../checked.ts';
import type { Communicator } from '../communicator.ts';
import { forDeviceTensors } from '../device-tensors.ts';
import { CollectiveError, RankFailure } from '../errors.ts';
import type { RankRun } from '../rank.ts';
import { mpiGroup } from './communicator.ts';
import { announcements, endTogether } from './failure.ts';
import { chooseMpi, findMpi } from './find.ts';
import { type MpiLaunch, underMpi } from './launch.ts';
import { openShim, type Shim, shimStatus } from './shim.ts';

export interface MpiOptions {
  /** What `underMpi` found; found now where not given. */
  readonly launch?: MpiLaunch | undefined;
  /** Where notices go: a first compilation, say. */
  readonly notify?: (message: string) => void;
  /** Checks before each collective that all ranks make the same call. */
  readonly debugCollectives?: boolean;
  /** When every rank has waited this long without a move, they wait for each other in vain. 30 where not given. */
  readonly deadlockSeconds?: number;
}

/** This process's place in the run. */
export interface MpiRank {
  /** All ranks of the run. */
  readonly world: Communicator;
  /** Number among the ranks on this host, and how many they are: they share its cores. */
  readonly localRank: number;
  readonly localSize: number;
  /** Threads for this rank's engine, so that the ranks of a host share its cores. */
  readonly threads: number;
  /** Version of the MPI library. */
  readonly library: string;
}

/** A joined run; `leave` before the process ends. */
export interface MpiMembership extends MpiRank {
  readonly shim: Shim;
  /**
   * Says that this rank's work is over, waits for the others, and ends MPI.
   *
   * @throws RankFailure when another rank fails before it is done.
   */
  leave(): void;
}

/**
 * Joins the run that a launcher started this process for. MPI can be joined once in a process, on its main thread.
 *
 * @throws EngineError when no MPI fits the launcher, or it does not come up.
 */
async function joinMpi(options: MpiOptions = {}): Promise<MpiMembership> {
  const launch = options.launch ?? underMpi();
  if (!launch) {
    throw new EngineError('no MPI launcher started this process', {
      remedy: 'Start it with mpirun -np N, or with srun --mpi=pmix.',
    });
  }
  const installation = chooseMpi(await findMpi(), launch.implementation, launch.launcher);
  const shim = await openShim(installation, options.notify);
  if (shim.call('recover_socket') !== 0) {
    throw new EngineError(`the connection to ${launch.launcher} was closed by a program between it and this process`, {
      remedy:
        'Node closes it under `mpirun npx …`: write mpirun -pmi-port -np N npx megatron …, or mpirun -np N node_modules/.bin/megatron ….',
    });
  }
  const facts = new Int32Array(4);
  if (shim.call('init', facts, options.deadlockSeconds ?? 30) !== shimStatus.fine)
    throw new EngineError(`MPI did not come up: ${shim.lastError()}`);
  const [rank = 0, size = 1, localRank = 0, localSize = 1] = facts;
  if (launch.size !== undefined && size !== launch.size) {
    shim.call('finalize');
    throw new EngineError(
      `${launch.launcher} started ${launch.size} ranks, but ${shim.version} sees ${size}: they do not belong together`,
      { remedy: `MPICC=/path/to/mpicc names the wrapper of the MPI that ${launch.launcher} is part of.` },
    );
  }
  const label = size === 1 ? 'world of one rank' : `world of ${size} ranks`;
  const peerFailure = (): Error => {
    const [first] = announcements(shim);
    return first ? new RankFailure(first.rank, first.error) : new MegatronError('another rank failed');
  };
  const world = forDeviceTensors(mpiGroup({ shim, peerFailure }, { index: 0, rank, size, label }));
  process.env['MEGATRON_LOCAL_RANK'] = String(localRank); // chooses its GPU
  return {
    world: options.debugCollectives ? checkedCommunicator(world) : world,
    localRank,
    localSize,
    threads: threadsOf(localSize),
    library: shim.version,
    shim,
    leave() {
      const status = shim.call('leave');
      if (status === shimStatus.peerFailed) throw peerFailure();
      if (status !== shimStatus.fine) throw new CollectiveError(`leaving the run: ${shim.lastError()}`);
      if (shim.call('finalize') !== shimStatus.fine) throw new EngineError(`MPI did not end: ${shim.lastError()}`);
    },
  };
}

/** A launcher may have bound the rank to some of the host's cores; where it did not, the ranks divide them. */
export function threadsOf(localSize: number, available = availableParallelism(), cores = cpus().length): number {
  return Math.max(1, Math.min(available, Math.floor(cores / localSize)));
}

export interface MpiRunOptions extends MpiOptions {
  /** Tells the user of the error that ended the run; called on one rank only, that of the first error. */
  readonly report: (error: unknown, rank: number) => void;
  /** Exit code of the run for an error; 1 where not given. */
  readonly exitCode?: (error: unknown) => number;
  /** Asks the run to end in good order; ranks see it as `run.stopRequested`. */
  readonly signal?: AbortSignal;
}

/**
 * Joins the run, does the work, and leaves. When it throws on any rank, here or elsewhere, the error of the first is
 * reported once, and all processes of the run end within seconds, with its exit code: this function does not return then.
 *
 * @throws EngineError only before the run is joined.
 */
export async function runMpi<Result>(
  options: MpiRunOptions,
  work: (rank: MpiRank & { readonly run: RankRun }) => Promise<Result> | Result,
): Promise<Result> {
  const membership = await joinMpi(options);
  const { shim, world } = membership;
  let over = false;
  const fail = (error: unknown): never => {
    over = true;
    return endTogether(shim, world, error, options);
  };
  // A process that just ends would leave the others waiting.
  const onExit = (code: number): void => {
    if (!over) shim.abort(code === 0 ? 1 : code);
  };
  process.on('exit', onExit);
  process.on('uncaughtException', fail);
  try {
    const run: RankRun = {
      get stopRequested() {
        return options.signal?.aborted ?? false;
      },
    };
    const result = await work({ ...membership, run });
    membership.leave();
    over = true;
    return result;
  } catch (error) {
    return fail(error);
  } finally {
    process.off('exit', onExit);
    process.off('uncaughtException', fail);
  }
}
