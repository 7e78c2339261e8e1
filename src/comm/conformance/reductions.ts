/** Reductions: every element type and length, rank order, the same bits everywhere, several in flight. */

import { halfTypes } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { allReduce, type Communicator, type Pending, reduceOperations } from '../communicator.ts';
import {
  conformanceTypes,
  expectElements,
  expectThat,
  fingerprint,
  makeTensor,
  ranksOf,
  reducedValue,
} from './values.ts';

/** Odd ones, around the places where an implementation changes its way, and one that is no multiple of anything. */
const lengths = [0, 1, 2, 3, 7, 64, 1023, 1025, 4099, 65_537];
const longLength = 1_000_003;

export function checkAllReduce(world: Communicator, engine: Engine): void {
  const ranks = ranksOf(world.size);
  let salt = 0;
  for (const dtype of conformanceTypes) {
    for (const operation of reduceOperations) {
      const longest = dtype !== 'i32' && operation === 'sum' ? [longLength] : [];
      for (const size of [...lengths, ...longest]) {
        salt++;
        using tensor = makeTensor(engine, dtype, world.rank, size, salt);
        using again = Tensor.copyOf(tensor);
        allReduce(world, tensor, operation);
        const words = () => `rank ${world.rank}, all-reduce ${operation} ${dtype} [${size}] over ${world.label}`;
        expectElements(tensor, (i) => reducedValue(dtype, operation, ranks, i, salt), words);
        const prints = world.exchange(fingerprint(tensor));
        expectThat(new Set(prints).size === 1, () => `${words()}: the ranks got different bits`);
        allReduce(world, again, operation);
        expectThat(fingerprint(again) === prints[0], () => `${words()}: a repetition gave different bits`);
      }
    }
  }
}

/** A view in the middle of a tensor is reduced, and nothing around it is touched. */
export function checkViews(world: Communicator, engine: Engine): void {
  for (const size of [5, 3001, 40_001]) {
    using whole = makeTensor(engine, 'f32', world.rank, size + 10, 900);
    using before = Tensor.copyOf(whole);
    using middle = whole.view([size], 3);
    allReduce(world, middle);
    const expected = before.read();
    const here = () => `rank ${world.rank}, around a reduced view of ${size}`;
    expectElements(whole, (i) => expected[i] as number, here, 0, 3);
    expectElements(whole, (i) => expected[i + size + 3] as number, here, size + 3);
    expectElements(middle, (i) => reducedValue('f32', 'sum', ranksOf(world.size), i + 3, 900), here);
  }
}

/** Infinity and NaN come through, whichever rank has them: a diverged rank must be seen by all. */
export function checkSpecialValues(world: Communicator, engine: Engine): void {
  for (const dtype of ['f32', ...halfTypes] as const) {
    for (const operation of reduceOperations) {
      for (const size of [4, 9000]) {
        for (const from of new Set([0, world.size - 1])) {
          using tensor = Tensor.zeros(engine, [size], { dtype });
          if (world.rank === from) tensor.write([Number.POSITIVE_INFINITY, Number.NaN], 1);
          allReduce(world, tensor, operation);
          const found = tensor.toArray().slice(0, 4);
          expectThat(
            found[0] === 0 && found[1] === Number.POSITIVE_INFINITY && Number.isNaN(found[2]) && found[3] === 0,
            () => `rank ${world.rank}: the ${operation} of ${dtype} 0, Infinity, NaN, 0 and zeros is ${found}`,
          );
        }
      }
    }
  }
}

/** Many at once, long and short mixed, finished in the order of their starts, with other calls between. */
export function checkInFlight(world: Communicator, engine: Engine): void {
  const ranks = ranksOf(world.size);
  const other = world.split(0, world.rank, 'other group of all');
  for (const count of [2, 3, 21]) {
    const sizes = Array.from({ length: count }, (_, i) => [3, 70_001, 900, 12_289][i % 4] as number);
    const tensors = sizes.map((size, i) => makeTensor(engine, 'f32', world.rank, size, 500 + i));
    const pending: Pending[] = [];
    for (const [i, tensor] of tensors.entries()) {
      pending.push(world.startAllReduce(tensor, 'sum'));
      if (i % 3 === 1) other.barrier();
      // one rank dawdles, so that some finish late
      if (i % 5 === world.rank % 5) dawdle(2);
    }
    using between = makeTensor(engine, 'bf16', world.rank, 5001, 499);
    allReduce(other, between, 'max');
    expectElements(
      between,
      (i) => reducedValue('bf16', 'max', ranks, i, 499),
      () => 'a reduction of another group between',
    );
    expectThat(world.exchange(world.rank).length === world.size, () => 'an exchange between start and finish');
    for (const [i, one] of pending.entries()) {
      one.finish();
      const words = () => `rank ${world.rank}: number ${i} of ${count} in flight`;
      expectElements(tensors[i] as Tensor, (e) => reducedValue('f32', 'sum', ranks, e, 500 + i), words);
    }
    for (const tensor of tensors) tensor[Symbol.dispose]();
  }
  other[Symbol.dispose]();
}

export function checkReduceScatter(world: Communicator, engine: Engine): void {
  const ranks = ranksOf(world.size);
  for (const dtype of conformanceTypes) {
    for (const size of [0, 1, 3, 257, 5003, 40_001]) {
      using input = makeTensor(engine, dtype, world.rank, size * world.size, 700);
      using untouched = Tensor.copyOf(input);
      using output = Tensor.empty(engine, [size], { dtype });
      world.reduceScatter(input, output);
      const words = () => `rank ${world.rank}, reduce-scatter ${dtype} [${size}]`;
      expectElements(output, (i) => reducedValue(dtype, 'sum', ranks, world.rank * size + i, 700), words);
      expectThat(fingerprint(input) === fingerprint(untouched), () => `${words()}: the input was changed`);
    }
  }
}

function dawdle(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}
