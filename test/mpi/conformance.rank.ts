/** A rank that runs the communicators' suite; started by mpirun. `conformance.rank.ts [cpu | reference] [seconds]`: again until then. */

import { checkCommunicator } from '../../src/comm/conformance.ts';
import { runMpi } from '../../src/comm/mpi/run.ts';
import { createEngine } from '../../src/tensor/engines/select.ts';
import { reportFailure } from './report.ts';

const [device = 'cpu', seconds = '0'] = process.argv.slice(2);

await runMpi({ report: reportFailure }, async ({ world, library, localSize }) => {
  using engine = await createEngine({ device: device === 'reference' ? 'reference' : 'cpu', threads: 1 });
  const start = performance.now();
  let rounds = 0;
  let again = true;
  while (again) {
    checkCommunicator(world, engine);
    rounds++;
    again = world.exchange(performance.now() - start < Number(seconds) * 1000)[0] === true;
    if (again && world.rank === 0) process.stdout.write(`round ${rounds} passed\n`);
  }
  const hosts = world.exchange(localSize);
  if (world.rank === 0) {
    process.stdout.write(`conformance passed: ${world.size} ranks, ${hosts.join(' ')} on their hosts, ${library}\n`);
  }
});
