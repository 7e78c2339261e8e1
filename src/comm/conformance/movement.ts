/** Collectives that move data without changing it, and messages between two ranks. */

import { type MegatronError, ShapeError, UsageError } from '../../base/errors.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Communicator } from '../communicator.ts';
import {
  conformanceTypes,
  expectElements,
  expectThat,
  fingerprint,
  makeTensor,
  ranksOf,
  storedValue,
  thrownBy,
} from './values.ts';

const lengths = [0, 1, 3, 1000, 5003, 90_001];

export function checkAllGather(world: Communicator, engine: Engine): void {
  for (const dtype of conformanceTypes) {
    for (const size of lengths) {
      using input = makeTensor(engine, dtype, world.rank, size, 30);
      using output = Tensor.zeros(engine, [world.size, size], { dtype });
      world.allGather(input, output);
      for (const rank of ranksOf(world.size)) {
        const words = () => `rank ${world.rank}, all-gather ${dtype} [${size}], part of rank ${rank}`;
        expectElements(output, (i) => storedValue(dtype, rank, i, 30), words, rank * size, (rank + 1) * size);
      }
      // the input may be this rank's part of the output
      using again = Tensor.zeros(engine, [world.size, size], { dtype });
      using part = again.view([size], world.rank * size);
      part.copyFrom(input);
      world.allGather(part, again);
      expectThat(fingerprint(again) === fingerprint(output), () => `all-gather in place ${dtype} [${size}]`);
    }
  }
}

export function checkBroadcast(world: Communicator, engine: Engine): void {
  for (const dtype of conformanceTypes) {
    for (const size of lengths) {
      for (const root of ranksOf(world.size)) {
        using tensor = makeTensor(engine, dtype, world.rank, size, 40 + root);
        world.broadcast(tensor, root);
        const words = () => `rank ${world.rank}, broadcast ${dtype} [${size}] from ${root}`;
        expectElements(tensor, (i) => storedValue(dtype, root, i, 40 + root), words);
      }
    }
  }
}

/** A baton that grows on its way round; then neighbours in both directions. */
export function checkMessages(world: Communicator, engine: Engine): void {
  const { rank, size } = world;
  if (size === 1) return;
  const next = (rank + 1) % size;
  const previous = (rank + size - 1) % size;
  for (const dtype of conformanceTypes) {
    for (const length of lengths) {
      using baton = makeTensor(engine, dtype, rank, length, 50);
      if (rank > 0) world.receive(baton, previous);
      world.send(baton, next);
      if (rank === 0) world.receive(baton, previous);
      expectElements(
        baton,
        (i) => storedValue(dtype, 0, i, 50),
        () => `rank ${rank}, baton ${dtype} [${length}]`,
      );

      // even ranks send first; with an odd number of ranks the last one only listens to its even neighbour
      using mine = makeTensor(engine, dtype, rank, length, 60);
      using theirs = Tensor.zeros(engine, [length], { dtype });
      const partner = rank % 2 === 0 ? rank + 1 : rank - 1;
      if (partner >= size) continue;
      if (rank % 2 === 0) world.send(mine, partner);
      world.receive(theirs, partner);
      if (rank % 2 === 1) world.send(mine, partner);
      const words = () => `rank ${rank}, ${dtype} [${length}] from its neighbour`;
      expectElements(theirs, (i) => storedValue(dtype, partner, i, 60), words);
    }
  }
  // messages between two ranks keep their order
  using message = Tensor.zeros(engine, [1], { dtype: 'i32' });
  for (let i = 0; i < 50; i++) {
    if (rank === 0) {
      message.write([i]);
      world.send(message, size - 1);
    } else if (rank === size - 1) {
      world.receive(message, 0);
      expectThat(message.item() === i, () => `message ${i} came as ${message.item()}`);
    }
  }
}

/** Mistakes that one look at the arguments shows are typed errors, on every rank, and the group works on. */
export function checkArguments(world: Communicator, engine: Engine): void {
  using three = Tensor.zeros(engine, [3], { dtype: 'f32' });
  using wrong = Tensor.zeros(engine, [3 * world.size + 1], { dtype: 'f32' });
  using otherType = Tensor.zeros(engine, [3 * world.size], { dtype: 'i32' });
  const mistakes: [string, typeof MegatronError, () => unknown][] = [
    ['all-gather into a wrong length', ShapeError, () => world.allGather(three, wrong)],
    ['all-gather into another type', ShapeError, () => world.allGather(three, otherType)],
    ['reduce-scatter of a wrong length', ShapeError, () => world.reduceScatter(wrong, three)],
    ['broadcast from nobody', UsageError, () => world.broadcast(three, world.size)],
    ['broadcast from half a rank', UsageError, () => world.broadcast(three, 0.5)],
    ['send to nobody', UsageError, () => world.send(three, -1)],
    ['send to itself', UsageError, () => world.send(three, world.rank)],
    ['receive from itself', UsageError, () => world.receive(three, world.rank)],
  ];
  for (const [what, type, body] of mistakes) {
    const error = thrownBy(body);
    expectThat(error instanceof type, () => `${what} throws ${error}, not a ${type.name}`);
  }
  world.barrier();
  expectThat(world.exchange(1).length === world.size, () => 'the group does not work on after a mistake');
}
