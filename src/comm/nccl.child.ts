/** A rank that runs steps of reductions by NCCL, then captures one as a CUDA graph and runs that; for the tests. */

import { addForward } from '../ops/add/kernels.ts';
import { createEngine } from '../tensor/engines/select.ts';
import { Tensor } from '../tensor/tensor.ts';
import { allReduce, type Communicator } from './communicator.ts';

export interface CapturedSteps {
  /** Before and after the ranks decided how they talk. */
  readonly capturable: readonly boolean[];
  /** After every step. */
  readonly sums: readonly number[];
  readonly others: readonly number[];
  readonly maxima: readonly number[];
}

const count = 1000;
const steps = 4;
/** Of which the first run as they are. */
const uncaptured = 2;

export default async function (world: Communicator): Promise<CapturedSteps> {
  using engine = await createEngine({ device: 'cuda' });
  const before = world.capturable;
  world.prepare(engine);
  const filled = (value: number): Tensor => Tensor.from(engine, new Array<number>(count).fill(value), [count]);
  using one = filled(1);
  using sum = filled(world.rank);
  using other = filled(10 * world.rank);
  using most = filled(world.rank);
  const step = (): void => {
    addForward(engine, sum, one, sum, count);
    const pending = world.startAllReduce(sum, 'sum'); // beside what follows
    addForward(engine, other, one, other, count);
    addForward(engine, most, one, most, count);
    allReduce(world, most, 'max');
    allReduce(world, other);
    pending.finish();
    addForward(engine, sum, one, sum, count);
  };
  const results = { sums: [] as number[], others: [] as number[], maxima: [] as number[] };
  const note = (): void => {
    for (const [list, tensor] of [
      [results.sums, sum],
      [results.others, other],
      [results.maxima, most],
    ] as const) {
      const numbers = tensor.toArray();
      list.push(numbers.every((value) => value === numbers[0]) ? (numbers[0] ?? Number.NaN) : Number.NaN);
    }
  };
  for (let i = 0; i < uncaptured; i++) {
    step();
    note();
  }
  const captured = engine.backend.capture?.(step);
  for (let i = uncaptured; i < steps; i++) {
    captured?.run();
    note();
  }
  captured?.[Symbol.dispose]();
  world.barrier();
  const after = world.capturable;
  world[Symbol.dispose]();
  return { capturable: [before, after], ...results };
}
