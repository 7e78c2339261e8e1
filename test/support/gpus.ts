/** Where suites for the cuda engine run: on the software CUDA, and on a GPU where this machine has one. */

import { afterAll, beforeAll, describe, it } from 'vitest';
import { emulatedCuda, noCpuEngine, noGpu } from './engines.ts';

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
