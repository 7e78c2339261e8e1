/** Runs the text of a kernel on the software CUDA: for tests of the software CUDA itself. */

import { type CudaDriver, dynamicSharedBytes, openDriver } from '../../../src/ffi/cuda/driver.ts';
import { openNvrtc } from '../../../src/ffi/cuda/nvrtc.ts';
import { Out } from '../../../src/ffi/cuda/status.ts';
import { addressOf, viewMemory } from '../../../src/ffi/native.ts';

export interface KernelText {
  /** What stands before the kernel: macros and headers, of `src/ops/native/cuda` and of attention. */
  readonly prelude?: string;
  /** Has `out`, float*, and `i`, the thread's number in its block. */
  readonly body: string;
  readonly blocks?: number;
  /** Of a block. */
  readonly threads?: number;
  /** Of `out`; one for each thread where not given. */
  readonly floats?: number;
  readonly sharedBytes?: number;
}

export interface TestDevice {
  readonly driver: CudaDriver;
  /** What the kernel leaves in `out`. @throws EngineError where it does not compile or its launch fails. */
  run(text: KernelText): number[];
}

const folders = ['native/cuda', 'attention'].map(
  (folder) => new URL(`../../../src/ops/${folder}`, import.meta.url).pathname,
);

/** @param libraries the folder that `buildCudaEmulator` gives */
export function openTestDevice(libraries: string): TestDevice {
  const driver = openDriver(`${libraries}/libcuda.so.1`);
  const nvrtc = openNvrtc(`${libraries}/libnvrtc.so.12`);
  return {
    driver,
    run({ prelude = '', body, blocks = 1, threads = 64, floats = blocks * threads, sharedBytes = 0 }) {
      const source = `extern "C" __global__ void test(float* out) { const int i = threadIdx.x; ${body} }\n`;
      const options = ['--std=c++17', ...folders.map((folder) => `-I${folder}`)];
      const cubin = nvrtc.compile(`${prelude}\n${source}`, 'test.cu', options);
      const result = new Out();
      driver.cuModuleLoadData(result.place, cubin);
      const module = result.pointer;
      driver.cuModuleGetFunction(result.place, module, 'test');
      const kernel = result.pointer;
      driver.cuFuncSetAttribute(kernel, dynamicSharedBytes, sharedBytes);
      driver.cuMemAlloc_v2(result.place, 4 * floats);
      const memory = result.pointer;
      try {
        const value = new BigUint64Array([memory, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n]); // long enough not to move
        const pointers = new BigUint64Array(10).fill(addressOf(value));
        driver.cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, sharedBytes, 0n, pointers, null);
        return [...new Float32Array(viewMemory(memory, 4 * floats).slice(0))];
      } finally {
        driver.cuMemFree_v2(memory);
        driver.cuModuleUnload(module);
      }
    },
  };
}
