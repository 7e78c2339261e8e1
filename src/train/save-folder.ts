/** A run writes only among its own checkpoints. */

import { realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { CheckpointError } from '../base/errors.ts';
import { type Checkpoint, hasCheckpoint } from '../checkpoint/index.ts';

/**
 * @param load the checkpoint that the run goes on from; undefined for a new run
 * @throws CheckpointError when the `--save` folder holds checkpoints of another run, which this one would replace.
 */
export function refuseToMixRuns(save: string | undefined, load: Checkpoint | undefined): void {
  if (save === undefined || !hasCheckpoint(save)) return;
  if (load && realpathSync(dirname(load.folder)) === realpathSync(save)) return;
  throw new CheckpointError(`${save} already holds checkpoints of ${load ? 'another' : 'a'} run`, {
    remedy: `Use --load ${save} to go on with that run, or choose another --save folder for this one.`,
  });
}
