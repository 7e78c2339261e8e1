/** Kernels of the `.cu` files: compiled for the device at their first use, kept in the cache by content, loaded once. */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError, messageOf } from '../../../base/errors.ts';
import { fileError, temporaryBeside } from '../../../base/files.ts';
import { cacheFolder, findFiles, withIncludes } from '../../../ffi/compile.ts';
import { type CudaDataType, cudaDataTypes } from '../../../ffi/cuda/cublas-lt.ts';
import { type CudaDriver, dynamicSharedBytes } from '../../../ffi/cuda/driver.ts';
import { type Nvrtc, openNvrtc } from '../../../ffi/cuda/nvrtc.ts';
import { Out } from '../../../ffi/cuda/status.ts';
import { type CudaParameter, signaturesOf } from './signatures.ts';

const sourceFolder = fileURLToPath(new URL('../../..', import.meta.url));
const operatorsFolder = join(sourceFolder, 'ops');
/** Every kernel's source; a new operator's `cuda.cu` is found by being there. */
const kernelFolders = [operatorsFolder, join(sourceFolder, 'comm')];

const valueTypes = Object.keys(cudaDataTypes) as CudaDataType[];

/** More dynamic shared memory than this must be asked for. */
const usualSharedBytes = 48 * 1024;

export interface LoadedFunction {
  readonly handle: bigint;
  readonly parameters: readonly CudaParameter[];
  /** Makes sure that a launch may have this much dynamic shared memory. */
  allowShared(bytes: number): void;
}

export interface FunctionLoader extends Disposable {
  /** @throws EngineError where no source has the function, or it does not compile. */
  get(name: string, valueType: CudaDataType): LoadedFunction;
}

interface Source {
  readonly file: string;
  readonly text: string;
  readonly parameters: readonly CudaParameter[];
}

/** Functions by name. @throws EngineError where two files define one. */
function readSources(): ReadonlyMap<string, Source> {
  const sources = new Map<string, Source>();
  for (const file of kernelFolders.flatMap((folder) => findFiles(folder, /\.cu$/))) {
    const text = readFileSync(file, 'utf8');
    for (const { name, parameters } of signaturesOf(text, file)) {
      const other = sources.get(name)?.file;
      if (other) throw new EngineError(`the function ${name} is in ${other} and in ${file}`);
      sources.set(name, { file, text, parameters });
    }
  }
  return sources;
}

export interface FunctionLoaderOptions {
  readonly driver: CudaDriver;
  /** Path of NVRTC's library. */
  readonly nvrtc: string;
  /** 10 · major + minor of the compute capability. */
  readonly architecture: number;
  readonly notify?: ((message: string) => void) | undefined;
}

/**
 * Compiles all kernels for all value types into the cache, before they are needed.
 *
 * @throws EngineError at the end, with the compiler's words for all that do not compile.
 * @param part of `parts` that share the work, in processes of their own
 */
export function compileKernels(options: Omit<FunctionLoaderOptions, 'driver'>, part = 0, parts = 1): void {
  const compile = cubinMaker(options);
  const files = new Map([...readSources().values()].map(({ file, text }) => [file, text]));
  const jobs = [...files].flatMap(([file, text]) => valueTypes.map((valueType) => ({ file, text, valueType })));
  const failures: string[] = [];
  for (const { file, text, valueType } of jobs.filter((_, index) => index % parts === part)) {
    try {
      compile(file, text, valueType);
    } catch (error) {
      failures.push(messageOf(error));
    }
  }
  if (failures.length > 0) throw new EngineError(failures.join('\n'));
}

export function createFunctionLoader(options: FunctionLoaderOptions): FunctionLoader {
  const { driver } = options;
  const sources = readSources();
  const compile = cubinMaker(options);
  const modules = new Map<string, bigint>();
  const functions = new Map<string, LoadedFunction>();
  const out = new Out();

  const moduleOf = ({ file, text }: Source, valueType: CudaDataType): bigint => {
    const key = `${file} ${valueType}`;
    const known = modules.get(key);
    if (known !== undefined) return known;
    driver.cuModuleLoadData(out.place, compile(file, text, valueType));
    const module = out.pointer;
    modules.set(key, module);
    return module;
  };

  const load = (name: string, valueType: CudaDataType): LoadedFunction => {
    const source = sources.get(name);
    if (!source) throw new EngineError(`no .cu file below ${kernelFolders.join(' and ')} has a function ${name}`);
    driver.cuModuleGetFunction(out.place, moduleOf(source, valueType), name);
    const handle = out.pointer;
    let allowed = usualSharedBytes;
    return {
      handle,
      parameters: source.parameters,
      allowShared(bytes) {
        if (bytes <= allowed) return;
        driver.cuFuncSetAttribute(handle, dynamicSharedBytes, bytes);
        allowed = bytes;
      },
    };
  };

  return {
    get(name, valueType) {
      const key = `${name} ${valueType}`;
      let found = functions.get(key);
      if (!found) {
        found = load(name, valueType);
        functions.set(key, found);
      }
      return found;
    },
    [Symbol.dispose]() {
      for (const module of modules.values()) driver.cuModuleUnload(module);
      modules.clear();
      functions.clear();
    },
  };
}

/** The compiler's name of a GPU: Hopper's own instructions (wgmma) must be asked for. */
export const targetOf = (architecture: number): string => `sm_${architecture}${architecture === 90 ? 'a' : ''}`;

type CubinMaker = (file: string, text: string, valueType: CudaDataType) => Uint8Array;

/** Compiles, or takes from the cache. The compiler's library is opened only where something is to be compiled. */
function cubinMaker({ nvrtc: path, architecture, notify }: Omit<FunctionLoaderOptions, 'driver'>): CubinMaker {
  let nvrtc: Nvrtc | undefined;
  const { size, mtimeMs } = statSync(path); // another compiler makes other code
  const folders = ['', 'native', 'native/cuda'].map((folder) => join(operatorsFolder, folder));
  return (file, text, valueType) => {
    const flags = [
      ...[
        `--gpu-architecture=${targetOf(architecture)}`,
        '--std=c++17',
        '--device-as-default-execution-space',
        `-DVALUE_${valueType.toUpperCase()}`,
      ],
      ...[dirname(file), ...folders].map((folder) => `-I${folder}`),
    ];
    const hash = createHash('sha256').update(JSON.stringify([flags, path, size, mtimeMs]));
    for (const header of withIncludes(file, folders)) hash.update(readFileSync(header)).update('\0');
    const place = relative(sourceFolder, dirname(file)).replaceAll('/', '-');
    const target = join(cacheFolder(), `cuda-${place}-${valueType}-${hash.digest('hex').slice(0, 24)}.cubin`);
    if (existsSync(target)) return readFileSync(target);
    notify?.(`compiling ${relative(sourceFolder, file)} for ${valueType} once …`);
    nvrtc ??= openNvrtc(path);
    const cubin = nvrtc.compile(text, file, flags);
    try {
      mkdirSync(dirname(target), { recursive: true });
      const temporary = temporaryBeside(target);
      writeFileSync(temporary, cubin);
      renameSync(temporary, target);
    } catch (error) {
      throw fileError(`cannot write ${target} (MEGATRON_CACHE_DIR chooses another folder)`, error);
    }
    return cubin;
  };
}
