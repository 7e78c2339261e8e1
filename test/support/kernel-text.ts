/** Runs the text of a kernel, on the software CUDA or on a GPU: for tests of what kernels are made of. */

import { type CudaDriver, describeDevice, dynamicSharedBytes, openDriver } from '../../src/ffi/cuda/driver.ts';
import { type CudaLibraryPaths, findCuda } from '../../src/ffi/cuda/find.ts';
import { openNvrtc } from '../../src/ffi/cuda/nvrtc.ts';
import { Out } from '../../src/ffi/cuda/status.ts';
import { addressOf } from '../../src/ffi/native.ts';
import { targetOf } from '../../src/tensor/engines/cuda/functions.ts';

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
  /** 10 · major + minor of the compute capability. */
  readonly architecture: number;
  /** What the kernel leaves in `out`. @throws EngineError where it does not compile or its launch fails. */
  run(text: KernelText): number[];
}

const folders = ['native/cuda', 'attention'].map(
  (folder) => new URL(`../../src/ops/${folder}`, import.meta.url).pathname,
);

/** The first device of these libraries. */
export function openTestDevice({ driver: driverPath, nvrtc: nvrtcPath }: CudaLibraryPaths = findCuda()): TestDevice {
  if (!driverPath || !nvrtcPath) throw new Error('no CUDA driver or NVRTC is here');
  const driver = openDriver(driverPath);
  const nvrtc = openNvrtc(nvrtcPath);
  const result = new Out();
  driver.cuDevicePrimaryCtxRetain(result.place, 0);
  driver.cuCtxSetCurrent(result.pointer);
  const { architecture } = describeDevice(driver, 0);
  const options = [
    ...[`--gpu-architecture=${targetOf(architecture)}`, '--std=c++17', '--device-as-default-execution-space'],
    ...folders.map((folder) => `-I${folder}`),
  ];
  return {
    driver,
    architecture,
    run({ prelude = '', body, blocks = 1, threads = 64, floats = blocks * threads, sharedBytes = 0 }) {
      const source = `extern "C" __global__ void test(float* out) { const int i = threadIdx.x; ${body} }\n`;
      const cubin = nvrtc.compile(`${prelude}\n${source}`, 'test.cu', options);
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
        const values = new Float32Array(floats);
        driver.cuMemcpyDtoHAsync_v2(values, memory, 4 * floats, 0n);
        driver.cuStreamSynchronize(0n);
        return [...values];
      } finally {
        driver.cuMemFree_v2(memory);
        driver.cuModuleUnload(module);
      }
    },
  };
}
