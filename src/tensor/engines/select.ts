/** Which engine a run gets: the fastest that this machine has, or the one it asked for. */

import { findCompiler } from '../../ffi/compile.ts';
import { CudaError } from '../../ffi/cuda/status.ts';
import type { Engine } from '../engine.ts';
import { type CpuOptions, createCpuEngine } from './cpu.ts';
import { createCudaEngine, cudaMissing } from './cuda.ts';
import { createReferenceEngine } from './reference.ts';

const deviceNames = ['auto', 'cuda', 'cpu', 'reference'] as const;
export type DeviceName = (typeof deviceNames)[number];

export interface EngineOptions extends CpuOptions {
  readonly device?: DeviceName;
}

/**
 * @throws EngineError when the asked engine cannot run here. With 'auto' a machine without a GPU or CUDA's libraries gets the
 *   cpu engine, and one without a compiler the reference engine and a notice; a compiler or GPU that fails is an error, never a
 *   silent fall to the slow engine.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  const device = options.device ?? 'auto';
  if (device === 'cuda') return createCudaEngine(options);
  const gpu = device === 'auto' ? gpuEngine(options) : undefined;
  if (gpu) return gpu;
  if (device === 'reference') return createReferenceEngine();
  if (device === 'auto' && !(await findCompiler())) {
    options.notify?.(
      'no C++ compiler here: using the reference engine, which is about 100 times slower ' +
        '(Debian/Ubuntu: apt-get install g++ libdnnl-dev; macOS: xcode-select --install)',
    );
    return createReferenceEngine();
  }
  return createCpuEngine(options);
}

/** The cuda engine where all of CUDA and a GPU are here; a GPU that fails otherwise is an error. */
function gpuEngine(options: EngineOptions): Engine | undefined {
  if (cudaMissing() !== undefined) return undefined;
  try {
    return createCudaEngine(options);
  } catch (error) {
    if (!(error instanceof CudaError && error.statusName === 'CUDA_ERROR_NO_DEVICE')) throw error;
    return undefined;
  }
}
