/** NCCL: collectives between GPUs, each begun on a stream and done when the stream comes to it. */

import { isMainThread } from 'node:worker_threads';
import { openLibrary } from '../native.ts';
import { bindChecked, type CheckedFunctions, Out, type StatusWords } from './status.ts';

const signatures = {
  ncclGetUniqueId: ['pointer'],
  ncclCommInitRank: ['pointer', 'int32', 'bytes128', 'int32'],
  ncclCommDestroy: ['pointer'],
  ncclAllReduce: ['pointer', 'pointer', 'int64', 'int32', 'int32', 'pointer', 'pointer'],
  ncclAllGather: ['pointer', 'pointer', 'int64', 'int32', 'pointer', 'pointer'],
  ncclReduceScatter: ['pointer', 'pointer', 'int64', 'int32', 'int32', 'pointer', 'pointer'],
  ncclBroadcast: ['pointer', 'pointer', 'int64', 'int32', 'int32', 'pointer', 'pointer'],
} as const;

/** ncclDataType_t. */
export const ncclTypes = { i32: 2, f16: 6, f32: 7, bf16: 9 } as const;
/** ncclRedOp_t. */
export const ncclSum = 0;

export type Nccl = CheckedFunctions<typeof signatures>;

/**
 * Lets NCCL (2.26 and later) begin the kernels of all communicators of a GPU in the order in which the program calls them, so that two
 * that run at once cannot wait for each other's room. NCCL reads the process' environment at its first call; only the main thread
 * changes that, before there are others that read it. What the user chose stays.
 */
export function orderNcclLaunches(): void {
  if (isMainThread) process.env['NCCL_LAUNCH_ORDER_IMPLICIT'] ??= '1';
}

/** @throws EngineError where the library does not load. */
export function openNccl(path: string): Nccl {
  orderNcclLaunches(); // of ranks that are threads the launching thread has done it
  const library = openLibrary(path, { permanent: true });
  const errorString = library.bind('ncclGetErrorString', 'string', ['int32']);
  const words: StatusWords = (status) => ({ name: String(errorString(status)), words: 'see NCCL_DEBUG=INFO' });
  return bindChecked(library, signatures, words);
}

/** Bytes of an ncclUniqueId. */
const idBytes = 128;

/** What one rank makes and all ranks of a group need. */
export function newNcclId(nccl: Nccl): Uint8Array {
  const id = new Uint8Array(idBytes);
  nccl.ncclGetUniqueId(id);
  return id;
}

/** This rank's handle of a group; returns when all its ranks have called. */
export function joinNccl(nccl: Nccl, id: Uint8Array, rank: number, size: number): bigint {
  const out = new Out();
  nccl.ncclCommInitRank(out.place, size, { bytes: id }, rank);
  return out.pointer;
}
