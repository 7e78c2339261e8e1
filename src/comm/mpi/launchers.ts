/** The programs of this machine that start MPI runs, by the MPI that they belong to. */

import { spawnSync } from 'node:child_process';
import type { MpiImplementation } from './launch.ts';

const candidates: Readonly<Record<MpiImplementation, { readonly names: readonly string[]; readonly words: RegExp }>> = {
  'Open MPI': { names: ['mpirun', 'mpirun.openmpi'], words: /open ?(mpi|rte)|prrte/i },
  MPICH: { names: ['mpirun', 'mpirun.mpich', 'mpiexec.hydra'], words: /hydra|mpich|intel\(r\) mpi/i },
};

/** Commands by implementation; one that has no launcher here is missing. */
export function findLaunchers(): ReadonlyMap<MpiImplementation, string> {
  const versions = new Map<string, string>();
  const versionOf = (name: string): string => {
    const known = versions.get(name);
    if (known !== undefined) return known;
    const { stdout, stderr, error } = spawnSync(name, ['--version'], { encoding: 'utf8', timeout: 5000 });
    const words = error ? '' : stdout + stderr;
    versions.set(name, words);
    return words;
  };
  const found = new Map<MpiImplementation, string>();
  for (const implementation of ['Open MPI', 'MPICH'] as const) {
    const { names, words } = candidates[implementation];
    const command = names.find((name) => words.test(versionOf(name)));
    if (command !== undefined) found.set(implementation, command);
  }
  return found;
}
