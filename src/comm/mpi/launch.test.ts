import { describe, expect, it } from 'vitest';
import { UsageError } from '../../base/errors.ts';
import { underMpi } from './launch.ts';
import { threadsOf } from './run.ts';

describe('underMpi', () => {
  it('knows the launchers by what they set', () => {
    expect(underMpi({ OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '3', PMIX_RANK: '3' })).toMatchObject({
      implementation: 'Open MPI',
      rank: 3,
      size: 4,
    });
    expect(underMpi({ PMI_FD: '6', PMI_RANK: '1', PMI_SIZE: '2' })).toMatchObject({
      implementation: 'MPICH',
      rank: 1,
      size: 2,
    });
    // mpirun -pmi-port: the library asks for the size
    expect(underMpi({ PMI_PORT: 'host:45217', PMI_ID: '1' })).toMatchObject({
      implementation: 'MPICH',
      rank: 1,
      size: undefined,
    });
    expect(underMpi({ PMIX_RANK: '2', PMIX_NAMESPACE: 'job' })).toMatchObject({ implementation: undefined, rank: 2 });
  });

  it('is nothing outside', () => {
    expect(underMpi({})).toBeUndefined();
    expect(underMpi({ PATH: '/bin', PMI_ID: '3', OMPI_MCA_btl: 'tcp' })).toBeUndefined();
  });

  it('takes Slurm’s tasks with PMIx or PMI-2, whichever MPI they use', () => {
    const slurm = { SLURM_STEP_NUM_TASKS: '8', SLURM_PROCID: '5' };
    const expected = { implementation: undefined, rank: 5, size: 8, launcher: 'srun' };
    expect(underMpi({ ...slurm, PMIX_RANK: '5', PMIX_NAMESPACE: 'slurm.1.0' })).toEqual(expected);
    expect(underMpi({ ...slurm, PMI_RANK: '5', PMI_SIZE: '8', PMI_FD: '9' })).toEqual(expected);
  });

  it('is nothing in a batch script or a single task of Slurm', () => {
    expect(underMpi({ SLURM_PROCID: '0', SLURM_NTASKS: '8' })).toBeUndefined();
    expect(underMpi({ SLURM_STEP_NUM_TASKS: '1', SLURM_PROCID: '0' })).toBeUndefined();
  });

  it('lets no user train eight models by forgetting --mpi', () => {
    const lone = (): unknown => underMpi({ SLURM_STEP_NUM_TASKS: '8', SLURM_PROCID: '5' });
    expect(lone).toThrow(UsageError);
    expect(lone).toThrow(/8 tasks/);
  });
});

describe('threadsOf', () => {
  it('divides the cores of a host, and keeps to those that the launcher bound the rank to', () => {
    expect(threadsOf(2, 64, 64)).toBe(32);
    expect(threadsOf(2, 1, 64)).toBe(1);
    expect(threadsOf(3, 8, 8)).toBe(2);
    expect(threadsOf(8, 2, 2)).toBe(1);
  });
});
