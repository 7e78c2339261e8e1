/** Puts the findings together, chooses the engine as a run would, and names the one improvement. */

import { messageOf } from '../../base/errors.ts';
import { examineComponents, examineGpu } from './components.ts';
import type { Component, EngineChoice, Findings, MatrixRate } from './findings.ts';
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
    engine: chooseEngine(components),
    matrixRate,
    matrixRateProblem,
    advice: advise(components),
  };
}

const isThere = (components: readonly Component[], name: string): boolean =>
  components.some((component) => component.name === name && component.found !== undefined);

/** The engine that `--device auto` takes, and why. */
export function chooseEngine(components: readonly Component[]): EngineChoice {
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
