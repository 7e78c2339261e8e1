/** Where this machine keeps CUDA: the driver's library, the compiler's, the matrix products' and the collectives'. */

import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findLibraries, libraryFolders } from '../libraries.ts';

export const cudaLibraries = {
  driver: { label: 'CUDA driver', pattern: /^libcuda\.so(\.\d+)*$/, use: 'runs programs on the GPU' },
  nvrtc: { label: 'NVRTC', pattern: /^libnvrtc\.so(\.\d+)*$/, use: 'compiles kernels for the GPU' },
  cublasLt: { label: 'cuBLASLt', pattern: /^libcublasLt\.so(\.\d+)*$/, use: 'matrix products on the GPU' },
  nccl: { label: 'NCCL', pattern: /^libnccl\.so(\.\d+)*$/, use: 'collectives between GPUs' },
} as const;

export type CudaLibraryName = keyof typeof cudaLibraries;

/** Full paths; undefined where a library is not on this machine. */
export type CudaLibraryPaths = Readonly<Record<CudaLibraryName, string | undefined>>;

/** Folders `<base>/<name>/<rest…>` that exist, where a name may be a pattern. */
function foldersLike(base: string, parts: readonly (string | RegExp)[]): string[] {
  const [part, ...others] = parts;
  if (part === undefined) return [base];
  if (typeof part === 'string') return foldersLike(join(base, part), others);
  try {
    return readdirSync(base)
      .filter((name) => part.test(name))
      .flatMap((name) => foldersLike(join(base, name), others));
  } catch {
    return []; // not there
  }
}

/** Where a driver is mounted into a container, and folders that the system's loader was told of. */
function driverFolders(environment: NodeJS.ProcessEnv): readonly string[] {
  const mounted = ['/usr/lib/wsl/lib', '/usr/local/nvidia/lib64', '/usr/local/nvidia/lib'];
  // a toolkit's folder holds at most a stub of the driver's library, which runs nothing
  return [...mounted, ...libraryFolders(environment), ...configuredFolders()].filter((folder) => !isStubs(folder));
}

const isStubs = (folder: string): boolean => /\/stubs\/?$/.test(folder);

/** What the files of /etc/ld.so.conf.d name. */
function configuredFolders(): string[] {
  const folder = '/etc/ld.so.conf.d';
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.conf'))
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .map((line) => line.trim())
      .filter((line) => line.startsWith('/'));
  } catch {
    return []; // another system's loader
  }
}

/** The `bin` folders of the search path: a Python that is called by name may be anywhere. */
const pythonPrefixes = (environment: NodeJS.ProcessEnv): string[] =>
  (environment['PATH'] ?? '')
    .split(':')
    .filter((folder) => folder.endsWith('/bin'))
    .map((folder) => folder.slice(0, -'/bin'.length));

/** Where CUDA's libraries lie besides the loader's folders: CUDA_HOME, /usr/local, and the packages of a Python. */
export function cudaFolders(environment: NodeJS.ProcessEnv = process.env): readonly string[] {
  const homes = [environment['CUDA_HOME'], environment['CUDA_PATH'], '/usr/local/cuda'].filter(
    (home) => home !== undefined,
  );
  const pythons = [
    ...[environment['VIRTUAL_ENV'], environment['CONDA_PREFIX'], join(homedir(), '.local'), '/usr/local', '/usr'],
    ...pythonPrefixes(environment),
    ...foldersLike(join(homedir(), '.pyenv', 'versions'), [/^3/]),
    ...foldersLike('/opt', [/./]),
    ...foldersLike('/opt', [/./, '.venv']),
  ];
  const packages = [...new Set(pythons)]
    .filter((prefix) => prefix !== undefined)
    .flatMap((prefix) =>
      foldersLike(join(prefix, 'lib'), [/^python3/, /^(site|dist)-packages$/, 'nvidia', /./, 'lib']),
    );
  return [...homes.flatMap((home) => [join(home, 'lib64'), join(home, 'lib')]), ...packages];
}

/**
 * The libraries of this machine. `MEGATRON_CUDA_LIBRARIES` names one folder to take all of them from, and nothing from
 * elsewhere.
 */
export function findCuda(environment: NodeJS.ProcessEnv = process.env): CudaLibraryPaths {
  const named = environment['MEGATRON_CUDA_LIBRARIES'];
  const folders = named ? [named] : [...libraryFolders(environment), ...cudaFolders(environment)];
  const forDriver = named ? folders : driverFolders(environment);
  const find = (name: CudaLibraryName): string | undefined =>
    findLibraries(cudaLibraries[name].pattern, name === 'driver' ? forDriver : folders)[0];
  return { driver: find('driver'), nvrtc: find('nvrtc'), cublasLt: find('cublasLt'), nccl: find('nccl') };
}
