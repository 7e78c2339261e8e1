/** The CUDA engine: our kernels compiled by NVRTC for the GPU that is there, matrix products by cuBLASLt, one stream. */

import { existsSync } from 'node:fs';
import { EngineError, UsageError } from '../../base/errors.ts';
import { formatBytes } from '../../base/format.ts';
import { openCublasLt } from '../../ffi/cuda/cublas-lt.ts';
import {
  type DeviceDescription,
  describeDevice,
  deviceCount,
  nonBlockingStream,
  openDriver,
} from '../../ffi/cuda/driver.ts';
import { type CudaLibraryName, type CudaLibraryPaths, cudaLibraries, findCuda } from '../../ffi/cuda/find.ts';
import { Out } from '../../ffi/cuda/status.ts';
import { CachingAllocator } from '../allocator.ts';
import { type Backend, Engine } from '../engine.ts';
import { type AttentionVariant, attentionVariants } from '../launch.ts';
import { createCapture } from './cuda/capture.ts';
import { createFunctionLoader } from './cuda/functions.ts';
import { createLauncher } from './cuda/launcher.ts';
import { deviceBlocks, StagedMemory } from './cuda/memory.ts';
import { createProducts } from './cuda/products.ts';
import { createStreams } from './cuda/streams.ts';

export interface CudaOptions {
  /**
   * Which GPU, counted from 0 among those that CUDA_VISIBLE_DEVICES leaves. Where not given `MEGATRON_GPU`, else the number of
   * this rank on its host (`MEGATRON_LOCAL_RANK`); ranks share GPUs where there are more of them.
   */
  readonly gpu?: number;
  /** Chooses the algorithm of each matrix product by measuring; `MEGATRON_CUDA_TUNE` where not given. */
  readonly measureProducts?: boolean;
  /** Whether steps may be captured as CUDA graphs; where not given unless `MEGATRON_CUDA_GRAPHS` is 0. */
  readonly captures?: boolean;
  /**
   * Instructions that attention runs on. Where not given `MEGATRON_CUDA_ATTENTION`, else wgmma on compute capability 9.0 and mma
   * elsewhere.
   */
  readonly attention?: AttentionVariant;
  /** What `findCuda` finds, where not given. */
  readonly libraries?: CudaLibraryPaths;
  /** Where notices go: a first compilation, say. */
  readonly notify?: (message: string) => void;
}

/** What an engine cannot do without. */
const needed = ['driver', 'nvrtc', 'cublasLt'] as const satisfies readonly CudaLibraryName[];
type NeededPaths = Readonly<Record<(typeof needed)[number], string>>;

/** Why the CUDA engine cannot run here, in words for people; undefined where all libraries are there. */
export function cudaMissing(libraries: CudaLibraryPaths = findCuda()): string | undefined {
  const missing = needed.filter((name) => libraries[name] === undefined).map((name) => cudaLibraries[name].label);
  return missing.length === 0 ? undefined : `${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not here`;
}

function checkLibraries(libraries: CudaLibraryPaths): NeededPaths {
  const problem = cudaMissing(libraries);
  const { driver, nvrtc, cublasLt } = libraries;
  if (problem === undefined && driver && nvrtc && cublasLt) return { driver, nvrtc, cublasLt };
  const named = process.env['MEGATRON_CUDA_LIBRARIES'];
  const searched = existsSync(named ?? '') ? 'only that folder was searched' : 'there is no such folder';
  throw new EngineError(`the cuda engine cannot run: ${problem}`, {
    remedy: named
      ? `MEGATRON_CUDA_LIBRARIES is ${named}: ${searched}. Leave it unset to search everywhere. Or use --device cpu.`
      : 'The driver comes with the GPU; NVRTC and cuBLASLt with the CUDA toolkit (CUDA_HOME) or with pip install ' +
        'nvidia-cuda-nvrtc nvidia-cublas (CUDA 13; nvidia-cuda-nvrtc-cu12 nvidia-cublas-cu12 for CUDA 12). ' +
        '`megatron doctor` shows what was found, docs/cuda.md tells more. Or use --device cpu.',
  });
}

/** A variable that is 0 or 1, or undefined where it is not set. @throws UsageError where it is something else. */
function switchOf(name: string): boolean | undefined {
  const text = process.env[name];
  if (!text) return undefined;
  if (text === '0' || text === '1') return text === '1';
  throw new UsageError(`${name} is ${text}`, { remedy: 'Set it to 0 or 1, or leave it unset.' });
}

function chosenGpu(given: number | undefined, count: number): number {
  const text = process.env['MEGATRON_GPU'];
  const gpu = given ?? (text ? Number(text) : Number(process.env['MEGATRON_LOCAL_RANK'] ?? 0) % count);
  if (Number.isInteger(gpu) && gpu >= 0 && gpu < count) return gpu;
  throw new UsageError(`there is no GPU ${given ?? text}: this process sees ${count}, counted from 0`);
}

/** Which kernels attention runs by. @throws UsageError for a name that is unknown, or wgmma where there is none. */
export function chosenAttention(given: AttentionVariant | undefined, architecture: number): AttentionVariant {
  const text = given ?? (process.env['MEGATRON_CUDA_ATTENTION'] || (architecture === 90 ? 'wgmma' : 'mma'));
  const variant = attentionVariants.find((name) => name === text);
  if (!variant) {
    throw new UsageError(`MEGATRON_CUDA_ATTENTION is ${attentionVariants.join(' or ')}, got ${text}`);
  }
  if (variant === 'wgmma' && architecture !== 90) {
    const capability = (architecture / 10).toFixed(1);
    throw new UsageError(`attention by wgmma needs a GPU of compute capability 9.0, this one has ${capability}`, {
      remedy: 'Leave MEGATRON_CUDA_ATTENTION unset, or set it to mma.',
    });
  }
  return variant;
}

/** @throws EngineError where a library or a GPU is missing. Kernels are compiled when they are first used. */
export function createCudaEngine(options: CudaOptions = {}): Engine {
  const found = options.libraries ?? findCuda();
  const libraries = checkLibraries(found);
  const driver = openDriver(libraries.driver);
  const out = new Out();
  driver.cuDeviceGet(out.place, chosenGpu(options.gpu, deviceCount(driver)));
  const device = out.int;
  const properties = describeDevice(driver, device);
  const description = { ...properties, attention: chosenAttention(options.attention, properties.architecture) };
  // never released: the context would be torn down with its last engine, and libraries keep state in it until the process ends
  driver.cuDevicePrimaryCtxRetain(out.place, device);
  driver.cuCtxSetCurrent(out.pointer); // of this thread, which is the only one that uses this engine
  driver.cuStreamCreate(out.place, nonBlockingStream);
  const stream = out.pointer;

  const blocks = deviceBlocks(driver, description.name);
  const memory = new CachingAllocator(blocks);
  const staged = new StagedMemory(driver, stream);
  const streams = createStreams(driver);
  const { notify } = options;
  const functions = createFunctionLoader({
    ...{ driver, nvrtc: libraries.nvrtc, architecture: description.architecture, notify },
  });
  const cublasLt = openCublasLt(libraries.cublasLt);
  const measures = options.measureProducts ?? switchOf('MEGATRON_CUDA_TUNE') ?? false;
  const products = createProducts({ cublasLt, driver, stream, measures, notify });
  const synchronous = switchOf('MEGATRON_CUDA_SYNC') ?? false;
  const captures = (options.captures ?? switchOf('MEGATRON_CUDA_GRAPHS') ?? true) && !synchronous;
  const backend: Backend = {
    name: 'cuda',
    goesOn: !synchronous,
    description: describe(description, cublasLt.version),
    threads: 1,
    device: staged,
    gpu: { number: device, device: description, address: description.address, stream, streams, nccl: found.nccl },
    run: createLauncher({ driver, stream, device: description, functions, products, memory, synchronous }),
    capture: captures ? createCapture(driver, stream, staged, memory) : undefined,
    [Symbol.dispose]: () => {
      // all of it, also after an error that leaves the device unusable; the last in is the first out
      using parts = new DisposableStack();
      parts.defer(() => driver.cuStreamDestroy_v2(stream));
      for (const part of [blocks, staged, streams, functions, products]) parts.use(part);
      parts.defer(() => staged.synchronize());
    },
  };
  return new Engine(backend, memory, 'f32');
}

const describe = ({ name, memoryBytes, architecture }: DeviceDescription, cublasLt: string): string =>
  `cuda: ${name}, ${formatBytes(memoryBytes)}, compute capability ${(architecture / 10).toFixed(1)}, cuBLASLt ${cublasLt}`;
