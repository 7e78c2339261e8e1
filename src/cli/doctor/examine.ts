/** Puts the findings together, chooses the engine as a run would, and names the one improvement. */

import { messageOf } from '../../base/errors.ts';
import { cudaLibraries } from '../../ffi/cuda/find.ts';
import { examineComponents, examineGpu } from './components.ts';
import type { Component, EngineChoice, Findings, GpuFindings, MatrixRate } from './findings.ts';
import { adviceFor, aptSearch } from './package-advice.js';
import { examineSystem, textOf } from './system.ts';

export interface ExamineOptions {
  readonly version: string;
  /** Measures the rate of the engine that a run would get; left out where no engine is to be started. */
  readonly measureMatrixRate?: (() => Promise<MatrixRate>) | undefined;
}

export async function examine(options: ExamineOptions): Promise<Findings> {
  const [system, components, gpu] = await Promise.all([examineSystem(), examineComponents(), examineGpu()]);
  let matrixRate: MatrixRate | undefined;
  let matrixRateProblem: string | undefined;
  try {
    matrixRate = await options.measureMatrixRate?.();
  } catch (error) {
    matrixRateProblem = messageOf(error);
  }
  return {
    version: options.version,
    system,
    components,
    gpu,
    engine: chooseEngine(components, gpu),
    matrixRate,
    matrixRateProblem,
    advice: advise(components),
  };
}

const isThere = (components: readonly Component[], name: string): boolean =>
  components.some((component) => component.name === name && component.found !== undefined);

/** What the cuda engine cannot do without. */
const gpuNeeds = (['driver', 'nvrtc', 'cublasLt'] as const).map((name) => cudaLibraries[name].label);

/** The engine that `--device auto` takes, and why. */
export function chooseEngine(components: readonly Component[], gpu?: GpuFindings): EngineChoice {
  if (gpu && gpu.gpus.length > 0) {
    const missing = gpuNeeds.filter((name) => !isThere(gpu.components, name));
    if (missing.length === 0) return { name: 'cuda', reason: 'there is a GPU, and all of CUDA that it takes' };
    const { name, reason } = chooseEngine(components);
    return { name, reason: `there is a GPU, but no ${missing.join(' and no ')}; ${reason}` };
  }
  if (!isThere(components, 'C++ compiler')) {
    return {
      name: 'reference',
      reason: 'there is no C++ compiler, so plain TypeScript does the work, about 100 times slower',
    };
  }
  const library = ['oneDNN', 'Accelerate', 'OpenBLAS'].find((name) => isThere(components, name));
  return {
    name: 'cpu',
    reason:
      library === undefined
        ? 'there is a C++ compiler; without oneDNN our own kernels multiply matrices'
        : `there is a C++ compiler, and ${library} for matrix products`,
  };
}

function advise(components: readonly Component[]): string | undefined {
  const missing = {
    compiler: !isThere(components, 'C++ compiler'),
    matrixLibrary: !isThere(components, 'oneDNN') && !isThere(components, 'Accelerate'),
  };
  return adviceFor(missing, {
    platform: process.platform,
    osRelease: textOf('/etc/os-release'),
    isRoot: process.getuid?.() === 0,
    search: aptSearch,
  });
}
