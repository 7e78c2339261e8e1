/** The CPU engine: C++ kernels compiled by the machine's own compiler, oneDNN or BLAS for matrix products. */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { EngineError, UsageError } from '../../base/errors.ts';
import { type Compiler, compileLibrary, findCompiler, findFiles } from '../../ffi/compile.ts';
import { findBlas, findOneDnn } from '../../ffi/libraries.ts';
import {
  letThreadsSleep,
  type NativeFunction,
  type NativeLibrary,
  type NativeType,
  type NativeValue,
  openLibrary,
  permanentSymbol,
  viewMemory,
} from '../../ffi/native.ts';
import { CachingAllocator } from '../allocator.ts';
import type { DType } from '../dtype.ts';
import { type Backend, Engine } from '../engine.ts';
import { type Kernel, type KernelArgument, type ParameterKind, valueTypeOf } from '../kernel.ts';

export const matrixProviders = ['onednn', 'blas', 'own'] as const;
export type MatrixProvider = (typeof matrixProviders)[number];

export interface CpuOptions {
  /** Threads of this engine; `defaultThreads()` where not given. */
  readonly threads?: number;
  /** Matrix products by this provider; the best there is where not given. */
  readonly matrixProvider?: MatrixProvider;
  /** Where notices go: a first compilation, say. */
  readonly notify?: (message: string) => void;
}

/** Every kernel's source; a new operator's `cpu.cpp` is found by being there. */
const operatorsFolder = fileURLToPath(new URL('../../ops', import.meta.url));
/** Kernels by which ranks of one process read each other's memory. */
const threadsFolder = fileURLToPath(new URL('../../comm/threads', import.meta.url));
const kernelFolders = [operatorsFolder, threadsFolder];

/**
 * Threads of an engine that was not told: `MEGATRON_THREADS`, which a launch of several ranks sets so that they share the
 * cores, else one for every core.
 *
 * @throws UsageError when the variable is no whole number above 0.
 */
function defaultThreads(environment: NodeJS.ProcessEnv = process.env): number {
  const text = environment['MEGATRON_THREADS'];
  if (!text) return availableParallelism();
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 1) {
    throw new UsageError(`MEGATRON_THREADS is ${text}`, { remedy: 'Set it to a whole number of threads, 1 or more.' });
  }
  return threads;
}

/** @throws EngineError when there is no compiler, or a kernel does not compile. */
export async function createCpuEngine(options: CpuOptions = {}): Promise<Engine> {
  const compiler = await findCompiler();
  if (!compiler) {
    throw new EngineError('the cpu engine needs a C++ compiler, and none of c++, g++, clang++ is there', {
      remedy:
        'Debian/Ubuntu: apt-get install g++ libdnnl-dev; macOS: xcode-select --install. Or use --device reference (slow).',
    });
  }
  const path = await compileLibrary(compiler, {
    sources: kernelFolders.flatMap((folder) => findFiles(folder, /\.cpp$/)),
    includeFolders: [`${operatorsFolder}/native`],
    onCompile: ({ version }: Compiler, files) =>
      options.notify?.(`compiling ${files} kernel files once with ${version} …`),
    ...(options.notify ? { onSerial: options.notify } : {}),
  });
  const threads = options.threads ?? defaultThreads();
  letThreadsSleep();
  const library = openLibrary(path);
  const matrix = matrixProduct(options.matrixProvider);

  // struct Context of ops/native/context.h; native code keeps no copy, so these bytes live as long as the engine
  const context = Buffer.alloc(24);
  context.writeInt32LE(threads, 0);
  context.writeBigUInt64LE(matrix.provider === 'onednn' ? matrix.address : 0n, 8);
  context.writeBigUInt64LE(matrix.provider === 'blas' ? matrix.address : 0n, 16);

  const allocate = library.bind('megatron_allocate', 'pointer', ['int64']);
  const free = library.bind('megatron_free', 'void', ['pointer', 'int64']);
  const memory = new CachingAllocator({
    allocate(bytes) {
      const address = allocate(bytes) as bigint | null;
      if (!address) return undefined;
      return { buffer: viewMemory(address, bytes), byteOffset: 0, address, capacity: bytes };
    },
    release: (block) => void free(block.address, block.capacity),
  });

  const unit = Number(library.bind('megatron_bf16_unit', 'int32', [])());
  const functions = new Map<Kernel, readonly NativeFunction[]>();
  const backend: Backend = {
    name: 'cpu',
    goesOn: false,
    description: `cpu: C++ kernels, ${matrix.label}, ${bf16Units[unit]}, ${threads} thread${threads === 1 ? '' : 's'}`,
    threads,
    run(kernel, values) {
      let instances = functions.get(kernel);
      if (!instances) {
        instances = bindKernel(library, kernel);
        functions.set(kernel, instances);
      }
      const native = instances[kernel.takesValues ? valueTypes.indexOf(valueTypeOf(kernel, values, 'f32')) : 0];
      if (!native) throw new EngineError(`${kernel.name} has no instance for the values it was given`);
      native(context, ...values.map(nativeValueOf));
    },
    [Symbol.dispose]: () => {},
  };
  return new Engine(backend, memory, 'f32');
}

/** What 16-bit products use, by the number that ops/native/gemm-values.cpp gives. */
const bf16Units: readonly string[] = [
  '16-bit products widened to float32 (neither AMX nor AVX512-BF16 here)',
  'bf16 products by AVX512-BF16 (f16 widened to float32: no unit for it)',
  'bf16 products by AMX (checked in emulation only so far; f16 widened to float32: no unit for it)',
  'bf16 products by AVX512-BF16 (the system refuses AMX; f16 widened to float32: no unit for it)',
];

/** The instances of `ValueKernel` in ops/native/elements.h. */
const valueTypes: readonly DType[] = ['f32', 'bf16', 'f16'];

function bindKernel(library: NativeLibrary, { name, parameters, takesValues }: Kernel): readonly NativeFunction[] {
  const types: readonly NativeType[] = ['pointer', ...parameters.map(nativeTypeOf)];
  return takesValues ? library.bindTable(name, valueTypes.length, 'void', types) : [library.bind(name, 'void', types)];
}

function nativeTypeOf(kind: ParameterKind): NativeType {
  switch (kind) {
    case 'int':
    case 'counter':
      return 'int64';
    case 'uint32':
      return 'uint32';
    case 'float':
      return 'float';
    default:
      return 'pointer';
  }
}

const nativeValueOf = (value: KernelArgument): NativeValue =>
  value === undefined ? null : typeof value === 'number' ? value : value.address;

type MatrixProduct = { readonly provider: MatrixProvider; readonly address: bigint; readonly label: string };

/** @throws EngineError when a provider is asked for that is not there. */
function matrixProduct(asked: MatrixProvider | undefined): MatrixProduct {
  const candidates: (() => MatrixProduct | undefined)[] = [
    () => libraryProduct('onednn', findOneDnn(), 'dnnl_sgemm', 'oneDNN'),
    () => libraryProduct('blas', findBlas(), 'cblas_sgemm', process.platform === 'darwin' ? 'Accelerate' : 'OpenBLAS'),
    () => ({ provider: 'own', address: 0n, label: 'our own matrix products' }),
  ];
  for (const candidate of candidates) {
    const product = candidate();
    if (product && (asked === undefined || product.provider === asked)) return product;
  }
  throw new EngineError(`the matrix library asked for (${asked}) is not on this machine`, {
    remedy: 'Debian/Ubuntu: apt-get install libdnnl-dev (or libopenblas0); `megatron doctor` shows what is there.',
  });
}

function libraryProduct(
  provider: MatrixProvider,
  path: string | undefined,
  symbol: string,
  label: string,
): MatrixProduct | undefined {
  const address = path === undefined ? undefined : permanentSymbol(path, symbol);
  return address === undefined ? undefined : { provider, address, label: `${label} matrix products` };
}
