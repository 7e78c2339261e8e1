/** Saves a checkpoint from one process, so that a crash at any moment leaves one that loads. */

import {
  abandonCheckpoint,
  beginCheckpoint,
  type CheckpointTensor,
  type CommitOptions,
  commitCheckpoint,
  type SavedCheckpoint,
  writeShard,
} from './draft.ts';
import { assertMeta } from './manifest.ts';
import { checkRetain } from './retention.ts';

export interface SaveOptions extends CommitOptions {
  /** The `--save` folder; made if missing. */
  readonly folder: string;
  readonly iteration: number;
  readonly tensors: Iterable<CheckpointTensor>;
}

/**
 * Saves all of a checkpoint from one process.
 *
 * @throws CheckpointError for tensors that do not fit together, MegatronError for a full disk and the like; the earlier checkpoints and the pointer are then as before.
 */
export function saveCheckpoint(options: SaveOptions): SavedCheckpoint {
  checkRetain(options.retain);
  assertMeta(options.meta);
  const draft = beginCheckpoint(options.folder, options.iteration);
  try {
    const shard = writeShard(draft, { rank: 0, worldSize: 1 }, options.tensors);
    return commitCheckpoint(draft, [shard], options);
  } catch (error) {
    abandonCheckpoint(draft);
    throw error;
  }
}
