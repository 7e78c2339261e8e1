/** Which old checkpoints go when a new one is safe. */

import { CheckpointError, MegatronError, messageOf } from '../base/errors.ts';
import { deleteIteration, iterationFolders } from './folders.ts';
import { checkFolder } from './list.ts';

/** @throws CheckpointError unless `retain` is a whole number of one or more, or undefined for all. */
export function checkRetain(retain: number | undefined): void {
  if (retain !== undefined && (!Number.isSafeInteger(retain) || retain < 1)) {
    throw new CheckpointError(`cannot retain ${retain} checkpoints: it must be a whole number of one or more`);
  }
}

/** Deletes what is older than the `retain` newest loadable checkpoints up to `iteration`; a damaged one takes no other's place. */
export function deleteOlder(root: string, iteration: number, retain: number, warnings: string[]): number[] {
  const deleted: number[] = [];
  let kept = 0;
  for (const [older, folder] of [...iterationFolders(root)].reverse()) {
    if (older > iteration) continue;
    if (kept < retain) {
      if (older === iteration || checkFolder(folder).problem === undefined) kept++;
      continue;
    }
    attempt(warnings, () => {
      deleteIteration(root, older, folder);
      deleted.push(older);
    });
  }
  return deleted.reverse();
}

/** Runs what may fail without harm; its words go to `warnings`. */
export function attempt(warnings: string[], action: () => void): void {
  try {
    action();
  } catch (error) {
    warnings.push(error instanceof MegatronError ? error.message : messageOf(error));
  }
}
