/** Where suites for the cuda engine run: on the software CUDA, and on a GPU where this machine has one. */

import { afterAll, beforeAll, describe, it } from 'vitest';
import { messageOf } from '../../src/base/errors.ts';
import { deviceCount, openDriver } from '../../src/ffi/cuda/driver.ts';
import { findCuda } from '../../src/ffi/cuda/find.ts';
import { cudaMissing } from '../../src/tensor/engines/cuda.ts';
import { emulatedCuda, noCpuEngine } from './engines.ts';

/** Why nothing can run on a GPU here; undefined where it can. */
export const noGpu: string | undefined = whyNoGpu();

function whyNoGpu(): string | undefined {
  const libraries = findCuda();
  const missing = cudaMissing(libraries);
  if (missing !== undefined || libraries.driver === undefined) return `skipped: no GPU, ${missing}`;
  try {
    return deviceCount(openDriver(libraries.driver)) > 0 ? undefined : 'skipped: no GPU';
  } catch (error) {
    return `skipped: no GPU, ${messageOf(error)}`;
  }
}

/**
 * @param body registers tests that use `--device cuda`, in this thread or in ranks that it starts. Where `emulated`, a step
 *   takes a hundred times as long.
 */
export function describeOnGpus(name: string, body: (emulated: boolean) => void): void {
  describe.skipIf(noCpuEngine)(`${name} on cuda (emulated)`, () => {
    const variable = 'MEGATRON_CUDA_LIBRARIES';
    const before = process.env[variable];
    beforeAll(async () => {
      process.env[variable] = await emulatedCuda();
    });
    afterAll(() => {
      if (before === undefined) delete process.env[variable];
      else process.env[variable] = before;
    });
    body(true);
  });
  describe(`${name} on the GPU`, () => {
    if (noGpu) it.skip(noGpu, () => {});
    else body(false);
  });
}
