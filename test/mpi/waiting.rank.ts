/** Ranks that work together until something happens to them; started by mpirun. */

import { setTimeout } from 'node:timers/promises';
import { allReduce } from '../../src/comm/communicator.ts';
import { runMpi } from '../../src/comm/mpi/run.ts';
import { createReferenceEngine } from '../../src/tensor/engines/reference.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { reportFailure } from './report.ts';

await runMpi({ report: reportFailure }, async ({ world }) => {
  using engine = createReferenceEngine();
  using tensor = Tensor.zeros(engine, [100_000], { dtype: 'f32' });
  for (let round = 0; round < 60_000; round++) {
    allReduce(world, tensor);
    if (round === 20 && world.rank === 0) process.stdout.write('all ranks work\n');
    await setTimeout(1);
  }
});
