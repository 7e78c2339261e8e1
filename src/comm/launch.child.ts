/** A rank that does what a test asks of it, mostly things that no rank should. */

import { DataError } from '../base/errors.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { Tensor } from '../tensor/tensor.ts';
import { allReduce, type Communicator } from './communicator.ts';
import { agreeToStop, type RankRun } from './rank.ts';

type Scenario = (world: Communicator, run: RankRun) => unknown;

const engine = createReferenceEngine();
const ones = (size: number): Tensor => Tensor.from(engine, new Float32Array(size).fill(1), [size]);
const spinForEver = (): never => {
  while (true);
};
/** The last rank does something else than the others. */
const last = (world: Communicator): boolean => world.rank === world.size - 1;

const scenarios: Record<string, Scenario> = {
  sum(world) {
    using tensor = ones(3);
    allReduce(world, tensor);
    return { rank: world.rank, size: world.size, sum: tensor.toArray(), threads: process.env['MEGATRON_THREADS'] };
  },
  throws(world) {
    if (last(world)) throw new DataError('line 7 is no JSON', { remedy: 'Mend line 7.' });
    world.barrier();
  },
  'throws later'(world) {
    for (let i = 0; ; i++) {
      if (last(world) && i === 1000) throw new Error('enough');
      world.barrier();
    }
  },
  'throws while another spins'(world) {
    if (world.rank === 0) spinForEver();
    if (last(world)) throw new Error('first error');
    world.barrier();
  },
  'throws while another awaits'(world) {
    if (last(world)) throw new Error('first error');
    return new Promise(() => setInterval(() => {}, 1000));
  },
  'throws asynchronously'(world) {
    if (!last(world)) return world.barrier();
    setTimeout(() => {
      throw new Error('out of a timer');
    });
    return new Promise(() => setInterval(() => {}, 1000));
  },
  exits(world) {
    if (last(world)) process.exit(0);
    world.barrier();
  },
  'runs out of memory'(world) {
    if (!last(world)) return world.barrier();
    const kept: number[][] = [];
    while (true) kept.push(new Array<number>(1e5).fill(kept.length));
  },
  'returns early'(world) {
    if (!last(world)) world.barrier();
    return 'done';
  },
  'returns what cannot be cloned'(world) {
    world.barrier();
    return last(world) ? () => {} : 1;
  },
  'forgets to finish'(world) {
    world.startAllReduce(ones(2), 'sum');
  },
  'leaves a timer'() {
    setInterval(() => {}, 1000);
    return 'done';
  },
  'other operation'(world) {
    using tensor = ones(2000);
    world.barrier();
    if (last(world)) world.broadcast(tensor, 1);
    else allReduce(world, tensor);
  },
  'other size'(world) {
    using tensor = ones(last(world) ? 2001 : 2000);
    allReduce(world, tensor, 'max');
  },
  'other type'(world) {
    using tensor = Tensor.zeros(engine, [5], { dtype: last(world) ? 'i32' : 'f32' });
    allReduce(world, tensor);
  },
  'other root'(world) {
    using tensor = ones(5);
    world.broadcast(tensor, last(world) ? 0 : 1);
  },
  'other shape'(world) {
    using tensor = ones(6);
    using shaped = tensor.view(last(world) ? [2, 3] : [3, 2]);
    allReduce(world, shaped);
  },
  'other message'(world) {
    using tensor = ones(last(world) ? 4 : 3);
    if (world.rank === 0) world.send(tensor, world.size - 1);
    if (last(world)) world.receive(tensor, 0);
  },
  'waits in a circle'(world) {
    using tensor = ones(3);
    world.send(tensor, (world.rank + 1) % world.size);
  },
  'other groups'(world) {
    const a = world.split(0, world.rank, 'group a');
    const b = world.split(0, world.rank, 'group b');
    (last(world) ? b : a).barrier();
  },
  'goes on after a failure'(world) {
    if (last(world)) throw new Error('first error');
    const messages: string[] = [];
    for (let i = 0; i < 3; i++) {
      try {
        world.barrier();
      } catch (error) {
        messages.push(String(error));
      }
    }
    throw new Error(`later: ${messages}`);
  },
  prints(world) {
    // a blocked event loop must not hold lines back, and their order must stay
    for (let line = 0; line < 100; line++) {
      if (world.rank === line % world.size) console.log(`line ${line}`);
      world.barrier();
      const end = performance.now() + 0.2;
      while (performance.now() < end);
    }
    console.error('%s %d', 'rank', world.rank);
  },
  'prints and exits'(world) {
    console.log(`last words of ${world.rank}`);
    process.exit(3);
  },
  'stops when asked'(world, run) {
    for (let iteration = 0; ; iteration++) {
      if (agreeToStop(world, run)) return iteration;
      if (iteration === 20 && world.rank === 0) console.log('twenty');
    }
  },
};

export default (world: Communicator, scenario: string, run: RankRun): unknown => scenarios[scenario]?.(world, run);
