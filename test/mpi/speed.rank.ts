/** How fast two or more ranks reduce; started by mpirun. Prints a table on rank 0. */

import { allReduce } from '../../src/comm/communicator.ts';
import { runMpi } from '../../src/comm/mpi/run.ts';
import { createCpuEngine } from '../../src/tensor/engines/cpu.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { reportFailure } from './report.ts';

await runMpi({ report: reportFailure }, async ({ world, library }) => {
  using engine = await createCpuEngine({ threads: 1 });
  const lines = [`${library}, ${world.size} ranks`];
  const measure = (name: string, bytes: number, rounds: number, body: () => void): void => {
    for (let i = 0; i < Math.ceil(rounds / 10); i++) body();
    const times: number[] = [];
    for (let batch = 0; batch < 5; batch++) {
      world.barrier();
      const start = performance.now();
      for (let i = 0; i < rounds / 5; i++) body();
      times.push((performance.now() - start) / 1000 / (rounds / 5));
    }
    const seconds = times.sort((a, b) => a - b)[0] ?? 0;
    lines.push(
      `${name.padEnd(24)} ${(seconds * 1e6).toFixed(1).padStart(10)} µs ${(bytes / seconds / 1e9).toFixed(3).padStart(8)} GB/s`,
    );
  };
  for (const dtype of ['f32', 'bf16'] as const) {
    for (const [bytes, rounds] of [
      [4, 2000],
      [65_536, 500],
      [1_048_576, 100],
      [67_108_864, 10],
    ] as const) {
      using tensor = Tensor.zeros(engine, [bytes / (dtype === 'f32' ? 4 : 2)], { dtype });
      measure(`all-reduce ${dtype} ${bytes} B`, bytes, rounds, () => allReduce(world, tensor));
    }
  }
  measure('barrier', 0, 2000, () => world.barrier());
  measure('exchange', 0, 1000, () => void world.exchange(world.rank));
  if (world.rank === 0) process.stdout.write(`${lines.join('\n')}\n`);
});
