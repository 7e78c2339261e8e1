/** What a rank's code sees of its run: the function that is launched, and how ranks agree to stop. */

import type { Communicator } from './communicator.ts';

/** The run that a rank belongs to. */
export interface RankRun {
  /** Whether somebody asked the run to end in good order. Ranks may see it at different moments: see `agreeToStop`. */
  readonly stopRequested: boolean;
}

/**
 * What every rank runs, the default export of the launched module. It ends the rank by returning; what it returns is
 * handed to whoever launched, by structured clone.
 */
export type RankFunction<Data = unknown, Result = unknown> = (
  world: Communicator,
  data: Data,
  run: RankRun,
) => Result | Promise<Result>;

/** Whether any rank saw a request to stop; the same answer on all. Collective: call it at the same iteration everywhere. */
export function agreeToStop(world: Communicator, run: RankRun): boolean {
  return world.exchange(run.stopRequested).some(Boolean);
}
