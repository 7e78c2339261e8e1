/** Where this machine keeps CUDA: the driver's library, the compiler's, the matrix products' and the collectives'. */

import { readdirSync } from 'node:fs';
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
  // libcuda belongs to the driver; a toolkit's folder holds at most a stub of it that runs nothing
  const driverFolders = named ? folders : ['/usr/lib/wsl/lib', ...libraryFolders(environment)];
  const find = (name: CudaLibraryName): string | undefined =>
    findLibraries(cudaLibraries[name].pattern, name === 'driver' ? driverFolders : folders)[0];
  return { driver: find('driver'), nvrtc: find('nvrtc'), cublasLt: find('cublasLt'), nccl: find('nccl') };
}
