/** Chooses how tensors go from GPU to GPU. */

import { hostname } from 'node:os';
import { EngineError, UsageError } from '../base/errors.ts';
import type { GpuPlace } from '../tensor/engine.ts';
import type { Communicator } from './communicator.ts';
import type { DirectGroup } from './direct-group.ts';
import { ncclGroup } from './nccl.ts';
import { mostSharing, sharedGpuGroup } from './shared-gpu/group.ts';
import { ThreadsCommunicator } from './threads/communicator.ts';

/** What `MEGATRON_CUDA_RANKS` may say: nothing but directly, or through the host's memory whatever there is. */
const wishes = ['direct', 'host'] as const;

function wish(environment: NodeJS.ProcessEnv = process.env): (typeof wishes)[number] | undefined {
  const text = environment['MEGATRON_CUDA_RANKS'];
  if (!text) return undefined;
  const known = wishes.find((one) => one === text);
  if (known) return known;
  throw new UsageError(`MEGATRON_CUDA_RANKS is ${text}`, { remedy: `Set it to ${wishes.join(' or ')}.` });
}

/**
 * NVIDIA warns that a process which captures graphs with several GPUs may hang: starting one may block, and with it the others that it
 * waits for ("Using NCCL with CUDA Graphs", NCCL 2.30). So threads capture only where they are told to.
 */
const mayCapture = (group: Communicator): boolean =>
  !(group instanceof ThreadsCommunicator) || process.env['MEGATRON_CUDA_GRAPHS'] === '1';

/**
 * NCCL where every rank has a GPU of its own and NCCL; the memory of the GPU where all ranks are threads of this process and share
 * one. Collective: all ranks come to one answer.
 *
 * @returns undefined where the ranks have neither: processes that share a GPU, which NCCL refuses, or several GPUs with several ranks
 *   on one.
 * @throws EngineError where that is so and `MEGATRON_CUDA_RANKS` is direct.
 */
export function openDirectGroup(group: Communicator, gpu: GpuPlace | undefined): DirectGroup | undefined {
  const wanted = wish();
  const mine = gpu && wanted !== 'host' ? { gpu: `${hostname()} ${gpu.address}`, nccl: gpu.nccl !== undefined } : null;
  const places = group.exchange(mine);
  const gpus = new Set(places.map((place) => place?.gpu));
  if (gpu && !places.includes(null)) {
    if (gpu.nccl !== undefined && gpus.size === group.size && places.every((place) => place?.nccl)) {
      return ncclGroup(group, gpu, gpu.nccl, mayCapture(group));
    }
    if (group instanceof ThreadsCommunicator && gpus.size === 1 && group.size <= mostSharing) {
      return sharedGpuGroup(group, gpu);
    }
  }
  if (wanted !== 'direct') return undefined;
  throw new EngineError(`the ${group.label} cannot sum on its GPUs, as MEGATRON_CUDA_RANKS=direct asks`, {
    remedy:
      'Give every rank a GPU of its own and install NCCL, or let threads of one process share one GPU (--nproc-per-node).',
  });
}
