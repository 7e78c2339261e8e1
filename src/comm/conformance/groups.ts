/** Small values, groups of ranks, groups of groups, and groups that overlap. */

import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { allReduce, type Communicator } from '../communicator.ts';
import { expectElements, expectThat, makeTensor, ranksOf, reducedValue } from './values.ts';

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

export function checkExchange(world: Communicator): void {
  expectThat(sameJson(world.exchange(world.rank), ranksOf(world.size)), () => 'the ranks in order');
  const recordOf = (rank: number) => ({
    name: `größer ≥ ${'界🙂'.repeat(rank)} "quoted" \\ \u0000`,
    nested: [rank, null, true, { x: rank / 3, big: 1e300 }],
    long: 'ü'.repeat(rank % 2 === 0 ? 0 : 50_000 + rank),
  });
  for (let round = 0; round < 3; round++) {
    const found = world.exchange(recordOf(world.rank));
    const expected = ranksOf(world.size).map(recordOf);
    expectThat(sameJson(found, expected), () => `rank ${world.rank}: records came back changed`);
  }
  expectThat(sameJson(world.exchange(null), Array(world.size).fill(null)), () => 'nulls');
  expectThat(sameJson(world.exchange(''), Array(world.size).fill('')), () => 'empty strings');
}

export function checkSplit(world: Communicator, engine: Engine): void {
  const { rank, size } = world;
  // by parity, in reverse order
  const parity = world.split(rank % 2, -rank, 'parity');
  const members = ranksOf(size)
    .filter((other) => other % 2 === rank % 2)
    .reverse();
  expectThat(parity.size === members.length, () => `rank ${rank}: ${parity.size} ranks of its parity`);
  expectThat(members[parity.rank] === rank, () => `rank ${rank} is number ${parity.rank} of its parity`);
  expectThat(sameJson(parity.exchange(rank), members), () => 'the order of a group by key');
  expectThat(parity.label.includes('parity'), () => `the label of a group is ${parity.label}`);
  using tensor = makeTensor(engine, 'f32', rank, 5000, 80);
  allReduce(parity, tensor);
  // rank order is the group's order
  expectElements(
    tensor,
    (i) => reducedValue('f32', 'sum', members, i, 80),
    () => `rank ${rank}, sum over its parity`,
  );

  // equal keys keep the order of ranks; groups of one; a group within a group
  const same = world.split(7, 0, 'same');
  expectThat(same.rank === rank && same.size === size, () => 'equal keys keep the order');
  const alone = world.split(rank, 0, 'alone');
  expectThat(alone.size === 1 && alone.rank === 0, () => 'a group of one');
  using lonely = makeTensor(engine, 'f32', rank, 10, 81);
  allReduce(alone, lonely);
  expectElements(
    lonely,
    (i) => reducedValue('f32', 'sum', [rank], i, 81),
    () => 'the sum over one rank',
  );
  const inner = parity.split(parity.rank < 2 ? 0 : 1, parity.rank, 'inner');
  expectThat(inner.size === (parity.rank < 2 ? Math.min(2, parity.size) : parity.size - 2), () => 'a group in a group');
  inner.barrier();
  for (const group of [inner, alone, same, parity]) group[Symbol.dispose]();
}

/** Rows and columns of a grid and the whole world, interleaved: each rank is in three groups at once. */
export function checkOverlap(world: Communicator, engine: Engine): void {
  const { rank, size } = world;
  const width = Math.max(1, Math.floor(Math.sqrt(size)));
  const row = world.split(Math.floor(rank / width), rank, 'row');
  const column = world.split(rank % width, rank, 'column');
  const inRow = ranksOf(size).filter((other) => Math.floor(other / width) === Math.floor(rank / width));
  const inColumn = ranksOf(size).filter((other) => other % width === rank % width);
  for (let step = 0; step < 30; step++) {
    const length = step % 3 === 2 ? 20_011 : 17;
    using inFlight = makeTensor(engine, 'f32', rank, length, 100 + step);
    using small = makeTensor(engine, 'f32', rank, 33, 200 + step);
    using gathered = Tensor.empty(engine, [33 * column.size], { dtype: 'f32' });
    const pending = column.startAllReduce(inFlight, 'sum');
    allReduce(row, small);
    if (step % 4 === 0) world.barrier();
    column.allGather(small, gathered);
    pending.finish();
    const here = () => `rank ${rank}, step ${step} of overlapping groups`;
    expectElements(small, (i) => reducedValue('f32', 'sum', inRow, i, 200 + step), here);
    expectElements(inFlight, (i) => reducedValue('f32', 'sum', inColumn, i, 100 + step), here);
    const place = column.rank * 33;
    const own = small.read();
    expectElements(gathered, (i) => own[i] as number, here, place, place + 33);
  }
  // pairs of neighbours: first (0,1) (2,3) …, then (1,2) (3,4) …; groups that cross
  const even = world.split(Math.floor(rank / 2), rank, 'even pairs');
  const odd = world.split(Math.floor((rank + 1) / 2), rank, 'odd pairs');
  for (let step = 0; step < 50; step++) {
    const group = step % 2 === 0 ? even : odd;
    const shift = step % 2;
    const pair = ranksOf(size).filter((other) => Math.floor((other + shift) / 2) === Math.floor((rank + shift) / 2));
    using tensor = makeTensor(engine, 'i32', rank, 5, step);
    allReduce(group, tensor, 'max');
    expectElements(
      tensor,
      (i) => reducedValue('i32', 'max', pair, i, step),
      () => `rank ${rank}, pairs, step ${step}`,
    );
  }
  for (const group of [row, column, even, odd]) group[Symbol.dispose]();
}

/** The statistics grow with the calls, and each communicator counts for itself. */
export function checkStatistics(world: Communicator, engine: Engine): void {
  const group = world.split(0, world.rank, 'counted');
  const before = { ...figures(world) };
  using tensor = Tensor.zeros(engine, [1000], { dtype: 'f32' });
  allReduce(group, tensor);
  group.barrier();
  const { calls, bytes, seconds } = figures(group);
  expectThat(
    calls === 2 && bytes === 4000 && seconds >= 0 && seconds < 60,
    () => `2 calls count as ${calls}, ${bytes} B`,
  );
  expectThat(figures(world).calls === before.calls, () => 'a group counts in another');
  group[Symbol.dispose]();
}

const figures = ({ statistics: { calls, bytes, seconds } }: Communicator) => ({ calls, bytes, seconds });
