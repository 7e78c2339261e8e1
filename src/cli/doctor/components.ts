/** Programs and libraries around us: compiler, matrix libraries, MPI, CUDA. */

import { findCompiler } from '../../ffi/compile.ts';
import { type CudaLibraryName, cudaLibraries, findCuda } from '../../ffi/cuda/find.ts';
import { cudaVersion } from '../../ffi/cuda/versions.ts';
import { findBlas, findLibraries, findOneDnn } from '../../ffi/libraries.ts';
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

/** GPUs, and the libraries that drive them. */
export async function examineGpu(environment: NodeJS.ProcessEnv = process.env): Promise<GpuFindings> {
  const query = await outputOf('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader']);
  const gpus = (query ?? '').split('\n').filter((line) => line.trim() !== '');
  const paths = findCuda(environment);
  const names = Object.keys(cudaLibraries) as CudaLibraryName[];
  return {
    gpus,
    components: names.map((name): Component => {
      const path = paths[name];
      const { label, use } = cudaLibraries[name];
      return { name: label, found: path === undefined ? undefined : `${cudaVersion(name, path)}, ${path}`, use };
    }),
  };
}
