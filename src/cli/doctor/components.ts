/** Programs and libraries around us: compiler, matrix libraries, MPI, CUDA. */

import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findCompiler } from '../../ffi/compile.ts';
import { findBlas, findLibraries, findOneDnn, libraryFolders } from '../../ffi/libraries.ts';
import type { Component, GpuFindings } from './findings.ts';
import { examineMpi } from './mpi.ts';
import { firstLineOf, outputOf } from './programs.ts';

/** What the CPU engine and runs on several machines are made of. */
export async function examineComponents(): Promise<readonly Component[]> {
  const [compiler, mpi, srun] = await Promise.all([findCompiler(), examineMpi(), firstLineOf('srun')]);
  const found = compiler === undefined ? undefined : `${compiler.command}: ${compiler.version}`;
  return [
    { name: 'C++ compiler', found, use: 'compiles the kernels of the cpu engine, once' },
    { name: 'oneDNN', found: findOneDnn(), use: 'matrix products' },
    {
      name: process.platform === 'darwin' ? 'Accelerate' : 'OpenBLAS',
      found: findBlas(),
      use: 'matrix products without oneDNN',
    },
    { name: 'Intel MKL', found: findLibraries(/^libmkl_rt\.so(\.\d+)*$/)[0], use: 'nothing yet' },
    ...mpi,
    { name: 'srun', found: srun, use: 'starts runs under Slurm' },
  ];
}

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

/** Where CUDA's libraries lie besides the loader's folders: CUDA_HOME, /usr/local, and the packages of a Python. */
export function cudaFolders(environment: NodeJS.ProcessEnv): readonly string[] {
  const homes = [environment.CUDA_HOME, environment.CUDA_PATH, '/usr/local/cuda'].filter((home) => home !== undefined);
  const pythons = [environment.VIRTUAL_ENV, environment.CONDA_PREFIX, join(homedir(), '.local'), '/usr/local', '/usr'];
  const packages = pythons
    .filter((prefix) => prefix !== undefined)
    .flatMap((prefix) =>
      foldersLike(join(prefix, 'lib'), [/^python3/, /^(site|dist)-packages$/, 'nvidia', /./, 'lib']),
    );
  return [...homes.flatMap((home) => [join(home, 'lib64'), join(home, 'lib')]), ...packages];
}

/** GPUs, and the libraries that would drive them. */
export async function examineGpu(environment: NodeJS.ProcessEnv = process.env): Promise<GpuFindings> {
  const query = await outputOf('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader']);
  const gpus = (query ?? '').split('\n').filter((line) => line.trim() !== '');
  const folders = [...libraryFolders(environment), ...cudaFolders(environment)];
  const library = (name: string, pattern: RegExp, use: string): Component => ({
    name,
    found: findLibraries(pattern, folders)[0],
    use,
  });
  return {
    gpus,
    components: [
      library('CUDA driver', /^libcuda\.so(\.\d+)*$/, 'runs programs on the GPU'),
      library('cuBLASLt', /^libcublasLt\.so(\.\d+)*$/, 'matrix products on the GPU'),
      library('NVRTC', /^libnvrtc\.so(\.\d+)*$/, 'compiles kernels for the GPU'),
      library('NCCL', /^libnccl\.so(\.\d+)*$/, 'collectives between GPUs'),
    ],
  };
}
