/** Starts ranks for a test, with every MPI of this machine. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { findMpi } from '../../src/comm/mpi/find.ts';
import { type MpiImplementation, mpiImplementations } from '../../src/comm/mpi/launch.ts';
import { findLaunchers } from '../../src/comm/mpi/launchers.ts';
import { findCompiler } from '../../src/ffi/compile.ts';

const installed = new Set((await findMpi()).map(({ implementation }) => implementation));
const launchers = findLaunchers();
const compiler = await findCompiler();

export interface TestedMpi {
  readonly implementation: MpiImplementation;
  readonly mpirun: string;
  /** Why it cannot be tested here; undefined where it can. */
  readonly skip: string | undefined;
}

export const testedMpis: readonly TestedMpi[] = mpiImplementations.map((implementation) => {
  const mpirun = launchers.get(implementation) ?? 'mpirun';
  const missing = [
    ...(launchers.has(implementation) ? [] : ['mpirun']),
    ...(installed.has(implementation) ? [] : ['mpicc']),
    ...(compiler ? [] : ['a C++ compiler']),
  ];
  const skip = missing.length > 0 ? `skipped: no ${missing.join(', no ')} for ${implementation} here` : undefined;
  return { implementation, mpirun, skip };
});

export interface EndedRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** Runs a program; resolves when it has ended. */
export function run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<EndedRun> {
  const start = performance.now();
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', ...environment };
  const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...output, seconds: (performance.now() - start) / 1000 }));
  });
}

/** Path of a file of this folder. */
export const fileHere = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Runs a file of this folder on several ranks of this machine. */
export function runRanks(
  { implementation, mpirun }: TestedMpi,
  ranks: number,
  file: string,
  ...args: string[]
): Promise<EndedRun> {
  const crowd = implementation === 'Open MPI' ? ['--oversubscribe', '--bind-to', 'none'] : [];
  return run(mpirun, ['-np', String(ranks), ...crowd, process.execPath, fileHere(file), ...args]);
}
