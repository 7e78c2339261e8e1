/** Ranks that work a little and end at different moments; started by mpirun. */

import { allReduce } from '../../src/comm/communicator.ts';
import { runMpi } from '../../src/comm/mpi/run.ts';
import { createReferenceEngine } from '../../src/tensor/engines/reference.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { reportFailure } from './report.ts';

const [skew = '0'] = process.argv.slice(2);

await runMpi({ report: reportFailure }, async ({ world }) => {
  using engine = createReferenceEngine();
  for (const size of [3, 70_000, 1_000_000, 10]) {
    using tensor = Tensor.zeros(engine, [size], { dtype: 'f32' });
    for (let round = 0; round < 5; round++) allReduce(world, tensor);
  }
  const wait = (Number(skew) * world.rank) / world.size;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, wait);
});
process.stdout.write('ended\n');
