/** The CUDA driver: devices, memory, streams, events, modules and launches. */

import { openLibrary, textAt } from '../native.ts';
import { bindChecked, type CheckedFunctions, Out, type StatusWords } from './status.ts';

// names with a version are what cuda.h maps the plain ones to
const signatures = {
  cuInit: ['uint32'],
  cuDeviceGetCount: ['pointer'],
  cuDeviceGet: ['pointer', 'int32'],
  cuDeviceGetName: ['pointer', 'int32', 'int32'],
  cuDeviceTotalMem_v2: ['pointer', 'int32'],
  cuDeviceGetAttribute: ['pointer', 'int32', 'int32'],
  cuDevicePrimaryCtxRetain: ['pointer', 'int32'],
  cuCtxSetCurrent: ['pointer'],
  cuMemGetInfo_v2: ['pointer', 'pointer'],
  cuMemAlloc_v2: ['pointer', 'int64'],
  cuMemFree_v2: ['pointer'],
  cuMemHostAlloc: ['pointer', 'int64', 'uint32'],
  cuMemFreeHost: ['pointer'],
  cuMemcpyHtoDAsync_v2: ['pointer', 'pointer', 'int64', 'pointer'],
  cuMemcpyDtoHAsync_v2: ['pointer', 'pointer', 'int64', 'pointer'],
  cuMemcpyDtoDAsync_v2: ['pointer', 'pointer', 'int64', 'pointer'],
  cuMemsetD8Async: ['pointer', 'uint32', 'int64', 'pointer'],
  cuMemsetD16Async: ['pointer', 'uint32', 'int64', 'pointer'],
  cuMemsetD32Async: ['pointer', 'uint32', 'int64', 'pointer'],
  cuModuleLoadData: ['pointer', 'pointer'],
  cuModuleUnload: ['pointer'],
  cuModuleGetFunction: ['pointer', 'pointer', 'string'],
  cuFuncSetAttribute: ['pointer', 'int32', 'int32'],
  cuLaunchKernel: [
    ...(['pointer', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32'] as const), // function, grid, block
    ...(['uint32', 'pointer', 'pointer', 'pointer'] as const), // shared bytes, stream, arguments, extra
  ],
  cuStreamCreate: ['pointer', 'uint32'],
  cuStreamDestroy_v2: ['pointer'],
  cuStreamSynchronize: ['pointer'],
  cuStreamWaitEvent: ['pointer', 'pointer', 'uint32'],
  cuStreamBeginCapture_v2: ['pointer', 'int32'],
  cuStreamEndCapture: ['pointer', 'pointer'],
  cuGraphInstantiateWithFlags: ['pointer', 'pointer', 'int64'],
  cuGraphUpload: ['pointer', 'pointer'],
  cuGraphLaunch: ['pointer', 'pointer'],
  cuGraphDestroy: ['pointer'],
  cuGraphExecDestroy: ['pointer'],
  cuEventCreate: ['pointer', 'uint32'],
  cuEventRecord: ['pointer', 'pointer'],
  cuEventSynchronize: ['pointer'],
  cuEventElapsedTime: ['pointer', 'pointer', 'pointer'],
  cuEventDestroy_v2: ['pointer'],
} as const;

export type CudaDriver = CheckedFunctions<typeof signatures>;

/** CUdevice_attribute. */
export const deviceAttributes = {
  multiprocessors: 16,
  busNumber: 33,
  deviceOnBus: 34,
  busDomain: 50,
  computeCapabilityMajor: 75,
  computeCapabilityMinor: 76,
  sharedBytesPerBlockOptIn: 97,
} as const;

/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES. */
export const dynamicSharedBytes = 8;
/** CU_STREAM_NON_BLOCKING: no waiting for the legacy stream, which nobody here uses. */
export const nonBlockingStream = 1;
/**
 * CU_STREAM_CAPTURE_MODE_RELAXED: a call of this or another thread that is no work of the stream (an allocation, say) does not end
 * the capture.
 */
export const captureRelaxed = 2;
/** CU_EVENT_DISABLE_TIMING: such events cost less. */
export const eventWithoutTiming = 2;
/** CU_EVENT_DEFAULT: an event with its time. */
export const eventWithTiming = 0;
/** CUDA_ERROR_OUT_OF_MEMORY. */
export const outOfMemory = 2;

/** @throws EngineError where the library does not load; CudaError where there is no device. */
export function openDriver(path: string): CudaDriver {
  const library = openLibrary(path, { permanent: true });
  const nameOf = library.bind('cuGetErrorName', 'int32', ['int32', 'pointer']);
  const wordsOf = library.bind('cuGetErrorString', 'int32', ['int32', 'pointer']);
  const out = new Out();
  const words: StatusWords = (status) => {
    const read = (of: typeof nameOf): string | undefined =>
      of(status, out.place) === 0 && out.pointer !== 0n ? textAt(out.pointer) : undefined;
    return { name: read(nameOf) ?? 'unknown CUDA error', words: read(wordsOf) ?? '' };
  };
  const driver = bindChecked(library, signatures, words);
  driver.cuInit(0);
  return driver;
}

export interface DeviceDescription {
  readonly name: string;
  readonly memoryBytes: number;
  /** Its place on the PCI bus, the same for every process of a machine. */
  readonly address: string;
  readonly multiprocessors: number;
  /** 10 · major + minor of the compute capability. */
  readonly architecture: number;
  readonly sharedBytesPerBlock: number;
}

export function deviceCount(driver: CudaDriver): number {
  const out = new Out();
  driver.cuDeviceGetCount(out.place);
  return out.int;
}

/** @param device a CUdevice, as cuDeviceGet gives it */
export function describeDevice(driver: CudaDriver, device: number): DeviceDescription {
  const out = new Out();
  const attribute = (code: number): number => {
    driver.cuDeviceGetAttribute(out.place, code, device);
    return out.int;
  };
  const major = attribute(deviceAttributes.computeCapabilityMajor);
  const minor = attribute(deviceAttributes.computeCapabilityMinor);
  const name = Buffer.alloc(256);
  driver.cuDeviceGetName(name, name.length, device);
  driver.cuDeviceTotalMem_v2(out.place, device);
  const memoryBytes = out.size;
  return {
    ...{ name: name.toString('utf8', 0, name.indexOf(0)), memoryBytes, architecture: 10 * major + minor },
    address: [deviceAttributes.busDomain, deviceAttributes.busNumber, deviceAttributes.deviceOnBus]
      .map(attribute)
      .join(':'),
    multiprocessors: attribute(deviceAttributes.multiprocessors),
    sharedBytesPerBlock: attribute(deviceAttributes.sharedBytesPerBlockOptIn),
  };
}
