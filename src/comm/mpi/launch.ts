/** Whether an MPI launcher (`mpirun`, `srun`) started this process, and which one: its environment variables tell. */

import { UsageError } from '../../base/errors.ts';

/** Families whose launchers and libraries belong together; MPICH's includes Intel MPI, MVAPICH and Cray MPICH. */
export const mpiImplementations = ['Open MPI', 'MPICH'] as const;
export type MpiImplementation = (typeof mpiImplementations)[number];

export interface MpiLaunch {
  /** Undefined under Slurm, which starts either. */
  readonly implementation: MpiImplementation | undefined;
  readonly rank: number;
  /** Undefined where only the MPI library itself is told: under `mpirun -pmi-port`. */
  readonly size: number | undefined;
  /** Words for messages. */
  readonly launcher: string;
}

/**
 * What the environment of a rank tells; undefined outside MPI.
 *
 * @throws UsageError when Slurm started several tasks that know nothing of each other.
 */
export function underMpi(environment: NodeJS.ProcessEnv = process.env): MpiLaunch | undefined {
  const numberOf = (name: string): number | undefined => {
    const text = environment[name];
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  };
  const openMpiSize = numberOf('OMPI_COMM_WORLD_SIZE');
  if (openMpiSize !== undefined) {
    const rank = numberOf('OMPI_COMM_WORLD_RANK') ?? 0;
    return { implementation: 'Open MPI', rank, size: openMpiSize, launcher: 'mpirun of Open MPI' };
  }
  // srun in a step of its own; a batch script and `salloc` have SLURM_PROCID, too, but no tasks of a step
  const slurmSize = numberOf('SLURM_STEP_NUM_TASKS');
  const slurmRank = numberOf('SLURM_PROCID');
  const pmixRank = numberOf('PMIX_RANK');
  const pmiRank = numberOf('PMI_RANK') ?? (environment['PMI_PORT'] === undefined ? undefined : numberOf('PMI_ID'));
  if (slurmSize !== undefined && slurmRank !== undefined) {
    const byPmi = pmiRank !== undefined && numberOf('PMI_SIZE') !== undefined;
    if (pmixRank !== undefined || byPmi) {
      return { implementation: undefined, rank: slurmRank, size: slurmSize, launcher: 'srun' };
    }
    if (slurmSize <= 1) return undefined;
    throw new UsageError(`srun started ${slurmSize} tasks without MPI: each would train a model of its own`, {
      remedy:
        'Add --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH) to srun; `srun --mpi=list` names what this cluster offers.',
    });
  }
  if (pmiRank !== undefined) {
    const size = numberOf('PMI_SIZE');
    return { implementation: 'MPICH', rank: pmiRank, size, launcher: 'mpirun of MPICH' };
  }
  // PRRTE's prun, and other launchers that speak PMIx
  if (pmixRank !== undefined && environment['PMIX_NAMESPACE'] !== undefined) {
    return { implementation: undefined, rank: pmixRank, size: undefined, launcher: 'a PMIx launcher' };
  }
  return undefined;
}
