/** Any slice comes back from any cut of a tensor into slices over any number of ranks. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { beginCheckpoint, type CheckpointTensor, commitCheckpoint, writeShard } from './draft.ts';
import { elementCount, itemSize, type StoredDtype } from './dtype.ts';
import { openCheckpoint } from './open.ts';
import { readBox } from './read-box.ts';
import { intersection, type Slice, tilingProblem } from './slices.ts';
import { sampleMeta, temporaryFolder } from './testing.ts';

/** Cuts a tensor recursively at random places. */
function cut(shape: readonly number[], random: () => number, pieces: number): Slice[] {
  const slices: Slice[] = [{ offset: shape.map(() => 0), shape: [...shape] }];
  for (let attempt = 1; attempt < pieces; attempt++) {
    const index = Math.floor(random() * slices.length);
    const slice = slices[index];
    const axis = Math.floor(random() * shape.length);
    const size = slice?.shape[axis];
    if (slice === undefined || size === undefined || size < 2) continue;
    const at = 1 + Math.floor(random() * (size - 1));
    const offset = slice.offset.map((start, other) => (other === axis ? start + at : start));
    slices[index] = { offset: slice.offset, shape: slice.shape.map((length, other) => (other === axis ? at : length)) };
    slices.push({ offset, shape: slice.shape.map((length, other) => (other === axis ? length - at : length)) });
  }
  return slices;
}

/** The slow and plain way to take a slice: one element at a time. */
function pick(whole: Uint8Array, globalShape: readonly number[], slice: Slice, itemBytes: number): Uint8Array {
  const count = elementCount(slice.shape);
  const result = new Uint8Array(count * itemBytes);
  for (let element = 0; element < count; element++) {
    let rest = element;
    let position = 0;
    let stride = 1;
    for (let axis = globalShape.length - 1; axis >= 0; axis--) {
      const size = slice.shape[axis] ?? 1;
      position += ((rest % size) + (slice.offset[axis] ?? 0)) * stride;
      rest = Math.floor(rest / size);
      stride *= globalShape[axis] ?? 1;
    }
    result.set(whole.subarray(position * itemBytes, (position + 1) * itemBytes), element * itemBytes);
  }
  return result;
}

function randomSlice(shape: readonly number[], random: () => number): Slice {
  const offset = shape.map((size) => Math.floor(random() * (size + 1)));
  return { offset, shape: shape.map((size, axis) => Math.floor(random() * (size - (offset[axis] ?? 0) + 1))) };
}

/** A small generator of its own, so that a failing case can be repeated from its seed. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const dtypes: StoredDtype[] = ['F64', 'F32', 'BF16', 'I16', 'U8'];

describe('resharding', () => {
  test('every slice of every cut is exact', () => {
    using folder = temporaryFolder();
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 13 }), { maxLength: 4 }),
        fc.constantFrom(...dtypes),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(),
        (shape, dtype, pieces, ranks, seed) => {
          const random = generator(seed);
          const itemBytes = itemSize(dtype);
          const whole = Uint8Array.from({ length: elementCount(shape) * itemBytes }, () => random() * 256);
          const tensors = cut(shape, random, pieces).map(
            (slice): CheckpointTensor => ({
              name: 'w',
              globalShape: shape,
              ...slice,
              dtype,
              data: () => pick(whole, shape, slice, itemBytes),
            }),
          );
          const draft = beginCheckpoint(folder.path, 1);
          const shards = Array.from({ length: ranks }, (_, rank) =>
            writeShard(
              draft,
              { rank, worldSize: ranks },
              tensors.filter((_, index) => index % ranks === rank),
            ),
          );
          commitCheckpoint(draft, shards, { meta: sampleMeta(1) });
          using checkpoint = openCheckpoint(folder.path);
          expect(Buffer.compare(checkpoint.read('w'), whole)).toBe(0);
          for (let sample = 0; sample < 5; sample++) {
            const slice = randomSlice(shape, random);
            const part = new Uint8Array(elementCount(slice.shape) * itemBytes);
            checkpoint.readInto('w', { ...slice, dtype, globalShape: shape }, part);
            expect(Buffer.compare(part, pick(whole, shape, slice, itemBytes))).toBe(0);
          }
        },
      ),
      { numRuns: 60, seed: 1909 },
    );
  });

  test('long runs, short runs and wide gaps read the same', () => {
    // Sizes on both sides of the limits inside `readBox`: runs over 64 KiB, gaps over 32 KiB, windows over 4 MiB.
    const cases: [number[], Slice][] = [
      [[5, 70_000], { offset: [1, 0], shape: [3, 70_000] }],
      [[5, 70_000], { offset: [1, 5], shape: [3, 69_000] }],
      [[6, 70_000], { offset: [0, 69_990], shape: [6, 10] }],
      [[300, 20_000], { offset: [3, 500], shape: [290, 7] }],
      [[40, 30, 100], { offset: [3, 0, 2], shape: [30, 30, 98] }],
    ];
    for (const [shape, slice] of cases) {
      const random = generator(7);
      const whole = Uint8Array.from({ length: elementCount(shape) }, () => random() * 256);
      let reads = 0;
      const part = new Uint8Array(elementCount(slice.shape));
      readBox(
        {
          itemBytes: 1,
          shape: slice.shape,
          sourceShape: shape,
          sourceOffset: slice.offset,
          destinationShape: slice.shape,
          destinationOffset: slice.offset.map(() => 0),
        },
        (destination, position) => {
          reads++;
          destination.set(whole.subarray(position, position + destination.byteLength));
        },
        part,
      );
      expect(Buffer.compare(part, pick(whole, shape, slice, 1))).toBe(0);
      expect(reads).toBeLessThanOrEqual(6);
    }
  });
});

describe('coverage', () => {
  test('every cut covers; a slice less, a slice twice or a slice beyond is seen', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(),
        (shape, pieces, seed) => {
          const random = generator(seed);
          const slices = cut(shape, random, pieces);
          expect(tilingProblem(shape, slices)).toBeUndefined();
          const index = Math.floor(random() * slices.length);
          const chosen = slices[index] as Slice;
          expect(tilingProblem(shape, slices.toSpliced(index, 1))).toMatch(/slices hold/);
          expect(tilingProblem(shape, [...slices, chosen])).toMatch(/overlap/);
          const moved = { offset: chosen.offset.with(0, shape[0] ?? 0), shape: chosen.shape };
          expect(tilingProblem(shape, slices.with(index, moved))).toMatch(/outside/);
          for (const other of slices) expect(intersection(chosen, other) === undefined).toBe(other !== chosen);
        },
      ),
      { numRuns: 200, seed: 8 },
    );
    expect(tilingProblem([], [{ offset: [], shape: [] }])).toBeUndefined();
    expect(
      tilingProblem(
        [],
        [
          { offset: [], shape: [] },
          { offset: [], shape: [] },
        ],
      ),
    ).toMatch(/overlap/);
    expect(tilingProblem([0, 4], [])).toBeUndefined();
    expect(tilingProblem([4], [])).toBe('its slices hold 0 of 4 elements');
  });
});
