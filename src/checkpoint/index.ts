/** Checkpoints: safetensors shards and a manifest, free of any layout, never lost to a crash. */

export { describeDifferences } from './differences.ts';
export {
  type Attachment,
  abandonCheckpoint,
  beginCheckpoint,
  type CheckpointDraft,
  type CheckpointTensor,
  type CommitOptions,
  commitCheckpoint,
  type SavedCheckpoint,
  type ShardRecord,
  writeShard,
} from './draft.ts';
export { elementCount, isStoredDtype, itemSize, type StoredDtype } from './dtype.ts';
export type { JsonObject, JsonValue } from './json.ts';
export { hasCheckpoint, type ListedCheckpoint, listCheckpoints } from './list.ts';
export type { CheckpointMeta, Manifest, TensorRecord, TokenizerRecord } from './manifest.ts';
export { Checkpoint, type OpenOptions, openCheckpoint, type TensorRequest } from './open.ts';
export { SafetensorsFile } from './safetensors-file.ts';
export type { TensorEntry } from './safetensors-header.ts';
export { type WritableTensor, type WrittenFile, writeSafetensors } from './safetensors-write.ts';
export { type SaveOptions, saveCheckpoint } from './save.ts';
export { type Slice, wholeSlice } from './slices.ts';
