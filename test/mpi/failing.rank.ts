/** Ranks of which one fails; started by mpirun. `failing.rank.ts HOW [RANK]`, see `ways`. */

import { setTimeout } from 'node:timers/promises';
import { EngineError, UsageError } from '../../src/base/errors.ts';
import { allReduce, type Communicator } from '../../src/comm/communicator.ts';
import { RankFailure } from '../../src/comm/errors.ts';
import { runMpi } from '../../src/comm/mpi/run.ts';
import { createReferenceEngine } from '../../src/tensor/engines/reference.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { reportFailure } from './report.ts';

const [how = '', culprit = '1'] = process.argv.slice(2);
const faulty = (world: Communicator): boolean => world.rank === Number(culprit);

function differ(world: Communicator, tensor: (size: number) => Tensor): void {
  if (faulty(world)) world.barrier();
  else allReduce(world, tensor(1000));
}

/** What ranks do; the collectives work on [1000] and [100000] floats. */
const ways: Record<string, (world: Communicator, tensor: (size: number) => Tensor) => void | Promise<void>> = {
  /** One rank throws between two collectives; the others are in the second, or on their way to it. */
  throws(world, tensor) {
    allReduce(world, tensor(1000));
    if (faulty(world)) throw new EngineError('the weights are not a number', { remedy: 'Lower --lr.' });
    allReduce(world, tensor(100_000));
  },
  /** The others have begun a reduction, and unwind with it on its way. */
  inFlight(world, tensor) {
    if (faulty(world)) throw new EngineError('the weights are not a number');
    const pending = [tensor(100_000), tensor(10), tensor(3_000_000)].map((one) => world.startAllReduce(one, 'sum'));
    for (const one of pending) one.finish();
  },
  /** The others compute, and look at no message. */
  busy(world) {
    if (faulty(world)) throw new EngineError('the weights are not a number');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
  },
  /** All fail with the same words. */
  all(world) {
    world.barrier();
    throw new UsageError('no such file: corpus.bin');
  },
  /** Two fail at once, the others wait. */
  two(world) {
    world.barrier();
    if (world.rank === 0) throw new EngineError('rank 0 was first');
    if (faulty(world)) throw new EngineError('another error');
    world.barrier();
  },
  /** A rank is killed while the others wait for it. */
  killed(world) {
    world.barrier();
    if (faulty(world)) process.kill(process.pid, 'SIGKILL');
    world.barrier();
  },
  /** A rank ends its process without a word. */
  exits(world) {
    world.barrier();
    if (faulty(world)) process.exit(0);
    world.barrier();
  },
  /** An error outside of everyone's sight: in a callback of the event loop. */
  async callback(world) {
    world.barrier();
    if (faulty(world)) {
      setImmediate(() => {
        throw new EngineError('thrown in a callback');
      });
      await setTimeout(60_000);
    }
    world.barrier();
  },
  /** One rank ends its work early, and the others wait for it. */
  leaves(world, tensor) {
    world.barrier();
    if (!faulty(world)) allReduce(world, tensor(1000));
  },
  /** One makes another call than the others; with --debug-collectives, and without. */
  mismatch: differ,
  deadlock: differ,
  /** One receives other than was sent. */
  sizes(world, tensor) {
    if (faulty(world)) world.send(tensor(10), 0);
    else if (world.rank === 0) world.receive(tensor(9), Number(culprit));
    world.barrier();
  },
  /** A failure in a group that has not all ranks. */
  group(world, tensor) {
    const pair = world.split(Math.floor(world.rank / 2), world.rank, 'pair');
    if (faulty(world)) throw new EngineError('a failure in a pair');
    allReduce(pair, tensor(10));
    world.barrier();
  },
  /** All other ranks see the failure as ours, with its words and its rank. */
  seen(world) {
    world.barrier();
    if (faulty(world)) throw new EngineError('the disk is full', { remedy: 'Free some space.' });
    try {
      world.barrier();
    } catch (error) {
      const { rank, message, remedy, cause } = error as RankFailure;
      const type = error instanceof RankFailure && cause instanceof EngineError;
      process.stdout.write(`rank ${world.rank} saw ${type} ${rank}: ${message} (${remedy})\n`);
      throw error;
    }
  },
};

const way = ways[how];
if (!way) throw new UsageError(`no such way to fail: ${how}`);
const options = {
  report: reportFailure,
  exitCode: (error: unknown) => (error instanceof UsageError ? 2 : 1),
  debugCollectives: how === 'mismatch',
  deadlockSeconds: 2,
};
await runMpi(options, async ({ world }) => {
  const engine = createReferenceEngine();
  process.stdout.write(`rank ${world.rank} works\n`);
  await way(world, (size) => Tensor.zeros(engine, [size], { dtype: 'f32' }));
});
process.stdout.write('survived\n');
