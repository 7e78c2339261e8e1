/** Ranks under real launchers: the communicators' suite, and every way to fail, with each MPI that this machine has. */

import { describe, expect, it } from 'vitest';
import { fileHere, run, runRanks, type TestedMpi, testedMpis } from './mpi/launching.ts';

/** From the failure to the end of the run, with the start of the ranks before it on a busy machine. */
const failureSeconds = 15;

for (const mpi of testedMpis) {
  describe.skipIf(mpi.skip !== undefined)(mpi.skip ?? mpi.implementation, () => suite(mpi));
}

function suite(mpi: TestedMpi): void {
  it.for([1, 2, 3, 4])('%i ranks pass the conformance suite', async (ranks) => {
    const ended = await runRanks(mpi, ranks, 'conformance.rank.ts', ranks === 2 ? 'cpu' : 'reference');
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining(`conformance passed: ${ranks} ranks`) });
  });

  it('starts through npm’s and our own launcher, as npx megatron does', async () => {
    const program = `node ${fileHere('../../scripts/bootstrap.mjs')} ${fileHere('conformance.rank.ts')} reference`;
    const crowd = mpi.implementation === 'Open MPI' ? ['--oversubscribe'] : [];
    const ended = await run(mpi.mpirun, ['-np', '2', ...crowd, 'npm', 'exec', '-c', program]);
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('conformance passed: 2 ranks') });
  });

  /** Fails in a way of failing.rank.ts; what our own ranks, not the launcher, wrote to stderr. */
  const fail = async (
    how: string,
    ranks = 3,
  ): Promise<{ code: number | null; errors: string[]; stdout: string; all: string }> => {
    const ended = await runRanks(mpi, ranks, 'failing.rank.ts', how);
    expect(ended.stdout).not.toContain('survived');
    expect(ended.stdout).toContain('works');
    expect(ended.seconds).toBeLessThan(failureSeconds);
    const errors = ended.stderr.split('\n').filter((line) => line.startsWith('megatron:'));
    return { code: ended.code, errors, stdout: ended.stdout, all: ended.stdout + ended.stderr };
  };

  it.for(['throws', 'inFlight', 'busy'])('a rank that fails ends the others, with its error once: %s', async (how) => {
    const { code, errors } = await fail(how);
    expect(errors).toEqual(['megatron: rank 1: the weights are not a number']);
    expect(code).toBe(1);
  });

  it('the others throw the first error as their own', async () => {
    const { errors, all } = await fail('seen');
    expect(errors).toEqual(['megatron: rank 1: the disk is full']);
    expect(all).toContain('rank 0 saw true 1: rank 1 failed: the disk is full (Free some space.)');
  });

  it('one speaks for all that fail at once', async () => {
    const alike = await fail('all');
    expect(alike.errors).toEqual([expect.stringMatching(/^megatron: rank \d: no such file: corpus\.bin$/)]);
    expect(alike.code).toBe(2);
    expect((await fail('two')).errors).toEqual([expect.stringMatching(/rank 0 was first|rank 1: another error/)]);
  });

  it('errors outside the ranks’ function, and in groups, count', async () => {
    expect((await fail('callback')).errors).toEqual(['megatron: rank 1: thrown in a callback']);
    expect((await fail('group', 4)).errors).toEqual(['megatron: rank 1: a failure in a pair']);
  });

  it('a rank that is killed or leaves without a word ends the others', async () => {
    expect((await fail('killed')).code).not.toBe(0);
    expect((await fail('exits')).code).not.toBe(0);
  });

  it('nobody waits for a rank whose work is over', async () => {
    const { errors, code } = await fail('leaves');
    expect(errors).toEqual([expect.stringMatching(/all-reduce \(sum\) of f32 \[1000\].* waits for rank 1/)]);
    expect(code).toBe(1);
  });

  it('ranks that disagree hear of it', async () => {
    expect((await fail('sizes')).errors).toEqual([expect.stringMatching(/rank 0: receive of f32 \[9\] from rank 1/)]);
    expect((await fail('deadlock')).errors).toEqual([
      'megatron: rank 0: the ranks wait for each other in vain: rank 0 in an all-reduce (sum) of 1000 elements among ranks 0, 1, 2; ' +
        'rank 1 in a barrier (0 B) among ranks 0, 1, 2; rank 2 in an all-reduce (sum) of 1000 elements among ranks 0, 1, 2',
    ]);
    const { errors, all } = await fail('mismatch');
    expect(errors.length).toBe(1);
    expect(all).toMatch(/rank 0: all-reduce sum f32 \[1000\]/);
    expect(all).toMatch(/rank 1: barrier/);
  });
}
