/** Which engine a run gets: the fastest that this machine has, or the one it asked for. */

import { findCompiler } from '../../ffi/compile.ts';
import type { Engine } from '../engine.ts';
import { type CpuOptions, createCpuEngine } from './cpu.ts';
import { createReferenceEngine } from './reference.ts';

const deviceNames = ['auto', 'cpu', 'reference'] as const;
export type DeviceName = (typeof deviceNames)[number];

export interface EngineOptions extends CpuOptions {
  readonly device?: DeviceName;
}

/**
 * @throws EngineError when the asked engine cannot run here. With 'auto' a machine without a compiler gets the reference
 * engine and a notice; a compiler that fails is an error, never a silent fall to the slow engine.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  const device = options.device ?? 'auto';
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
