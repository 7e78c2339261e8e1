/** Ranks on two hosts, which test/mpi/hosts.sh makes of namespaces of this machine; and the loss of one of them. */

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { fileHere, run, testedMpis } from './mpi/launching.ts';

const script = fileHere('hosts.sh');

/** Why no hosts can be made here. */
function noHosts(): string | undefined {
  if (process.getuid?.() !== 0) return 'skipped: two hosts need root';
  for (const program of ['ip', 'unshare', 'nsenter', 'pgrep']) {
    if (spawnSync(program, ['-V']).error) return `skipped: two hosts need the program ${program}`;
  }
  const tried = spawnSync('unshare', ['--net', '--uts', '--ipc', '--mount', '--pid', '--fork', '--mount-proc', 'true']);
  return tried.status === 0 ? undefined : `skipped: namespaces are not allowed here (${String(tried.stderr).trim()})`;
}
const reason = noHosts();

for (const mpi of testedMpis) {
  const skip = mpi.skip ?? reason;
  const options = ['--mpirun', mpi.mpirun, '--mpi', mpi.implementation === 'Open MPI' ? 'openmpi' : 'mpich'];

  // MPICH over UCX's TCP may hang in MPI_Finalize, which we then give up on (see the shim): such a run gets another try.
  const retry = mpi.implementation === 'MPICH' ? 2 : 0;
  describe.skipIf(skip !== undefined)(
    `two hosts with ${mpi.implementation}${skip ? ` (${skip})` : ''}`,
    { retry },
    () => {
      it('pass the conformance suite', async () => {
        const ended = await run(script, [
          ...options,
          '--ranks',
          '2',
          process.execPath,
          fileHere('conformance.rank.ts'),
          'reference',
        ]);
        expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('4 ranks, 2 2 2 2 on their hosts') });
      });

      it('end together, however far apart their work ends', async () => {
        for (const milliseconds of ['0', '100', '1000']) {
          const ended = await run(script, [...options, process.execPath, fileHere('ending.rank.ts'), milliseconds]);
          expect(ended).toMatchObject({ code: 0, stdout: 'ended\nended\n' });
        }
      });

      it.for(['ranks', 'host'])('the first ends when the second loses its %s', async (what) => {
        const ended = await run(script, [...options, '--kill', what, process.execPath, fileHere('waiting.rank.ts')]);
        expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/the launcher ended with [1-9]/) });
        const milliseconds = /the ranks ended (\d+) ms/.exec(ended.stdout)?.[1];
        expect(Number(milliseconds)).toBeLessThan(5000);
      });

      it('the first ends when the network between them is gone', async () => {
        const ended = await run(script, [...options, '--kill', 'link', process.execPath, fileHere('waiting.rank.ts')]);
        expect(ended).toMatchObject({
          code: 0,
          stderr: expect.stringMatching(/megatron: rank 0: all-reduce.* 10\.77\.0\.2 has not answered for 20 s/),
        });
      });
    },
  );
}
