/** Runs a suite on every engine that this machine has, each with an allocator that hands out poisoned memory. */

import { afterAll, beforeAll, describe, it } from 'vitest';
import { messageOf } from '../../src/base/errors.ts';
import { findCompiler } from '../../src/ffi/compile.ts';
import { deviceCount, openDriver } from '../../src/ffi/cuda/driver.ts';
import { findCuda } from '../../src/ffi/cuda/find.ts';
import type { Engine } from '../../src/tensor/engine.ts';
import { type CpuOptions, createCpuEngine } from '../../src/tensor/engines/cpu.ts';
import { type CudaOptions, createCudaEngine, cudaMissing } from '../../src/tensor/engines/cuda.ts';
import { createReferenceEngine } from '../../src/tensor/engines/reference.ts';
import { buildCudaEmulator } from './cuda-emulator/library.ts';

const compiler = await findCompiler();

/** Why the cpu engine cannot be tested here; undefined where it can. */
export const noCpuEngine: string | undefined = compiler ? undefined : 'skipped: no C++ compiler on this machine';

/**
 * Fills every block with 0xff bytes as it is handed out: NaN as a float, −1 as an integer. A kernel that reads memory it
 * should have written, or leaves part of its output unwritten, shows at once.
 */
export function poisoned(engine: Engine): Engine {
  const { memory } = engine;
  const allocate = memory.allocate.bind(memory);
  memory.allocate = (bytes, kind) => {
    const block = allocate(bytes, kind);
    if (block.buffer) new Uint8Array(block.buffer, block.byteOffset, block.capacity).fill(0xff);
    else engine.backend.device?.fill(block.address, Uint8Array.of(0xff), block.capacity);
    return block;
  };
  return engine;
}

/** The plain-TypeScript engine in double precision: what the others are measured against. */
export const exactEngine = (): Engine => poisoned(createReferenceEngine('f64'));

/** A cpu engine for a test of its own. Check `noCpuEngine` first. */
export const cpuEngine = async (options: CpuOptions = {}): Promise<Engine> =>
  poisoned(await createCpuEngine({ threads: 2, ...options }));

/** Why nothing can run on a GPU here; undefined where it can. */
export const noGpu = whyNoGpu();

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

/** Where the software CUDA's libraries are: `MEGATRON_CUDA_LIBRARIES` for those who use it. Check `noCpuEngine` first. */
export async function emulatedCuda(): Promise<string> {
  if (!compiler) throw new Error('the software CUDA needs a C++ compiler');
  return buildCudaEmulator(compiler);
}

/** A cuda engine on the software CUDA, for a test of its own. Check `noCpuEngine` first. */
export async function emulatedCudaEngine(options: Omit<CudaOptions, 'libraries'> = {}): Promise<Engine> {
  const libraries = findCuda({ MEGATRON_CUDA_LIBRARIES: await emulatedCuda() });
  return poisoned(createCudaEngine({ ...options, libraries }));
}

interface EngineMaker {
  readonly label: string;
  readonly skip: string | undefined;
  readonly make: () => Promise<Engine>;
  readonly emulated?: boolean;
}

const hosts: readonly EngineMaker[] = [
  { label: 'reference', skip: undefined, make: async () => poisoned(createReferenceEngine()) },
  { label: 'cpu', skip: noCpuEngine, make: () => cpuEngine() },
];
const gpus: readonly EngineMaker[] = [
  { label: 'cuda (emulated)', skip: noCpuEngine, make: () => emulatedCudaEngine(), emulated: true },
  { label: 'the GPU', skip: noGpu, make: async () => poisoned(createCudaEngine()) },
];
/** Attention on a GPU by the instructions that Hopper GPUs, and so the software CUDA, do not take by themselves. */
const otherAttention: readonly EngineMaker[] = [
  {
    ...{ label: 'cuda (emulated), attention by mma', skip: noCpuEngine, emulated: true },
    make: () => emulatedCudaEngine({ attention: 'mma' }),
  },
  {
    ...{ label: 'the GPU, attention by mma', skip: noGpu },
    make: async () => poisoned(createCudaEngine({ attention: 'mma' })),
  },
];

/**
 * @param body registers the tests; calls the function it is given inside them to get the engine. The suite fails when
 *   tensors are still alive after its last test.
 * @param options emulated: false leaves the software CUDA out, which takes a hundred times as long as a CPU; hosts: false leaves
 *   out all but GPUs; attention: true runs the suite once more on each GPU, with the other kernels for attention.
 */
export function describeOnEngines(
  name: string,
  body: (engine: () => Engine) => void,
  options: { readonly emulated?: boolean; readonly hosts?: boolean; readonly attention?: boolean } = {},
): void {
  const all = [...(options.hosts === false ? [] : hosts), ...gpus, ...(options.attention ? otherAttention : [])];
  for (const { label, skip, make, emulated } of all) {
    if (emulated && options.emulated === false) continue;
    if (skip) {
      describe(`${name} on ${label}`, () => it.skip(skip, () => {}));
      continue;
    }
    describe(`${name} on ${label}`, () => {
      let engine: Engine | undefined;
      beforeAll(async () => {
        engine = await make();
      });
      afterAll(() => {
        const left = engine?.memory.count().current ?? 0;
        engine?.[Symbol.dispose]();
        if (left > 0) throw new Error(`${left} bytes of tensors were never freed`);
      });
      body(() => {
        if (!engine) throw new Error('the engine is made when the tests run: call this inside a test');
        return engine;
      });
    });
  }
}
