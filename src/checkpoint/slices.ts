/** Slices of a global tensor (hyper-rectangles in row-major order): where they meet, and whether they cover it. */

/** A part of a global tensor: per dimension where it begins and how far it reaches. */
export interface Slice {
  readonly offset: readonly number[];
  readonly shape: readonly number[];
}

/** `[0:4, 8:16]`, or `[]` for a scalar. */
export function sliceWords(slice: Slice): string {
  return `[${slice.offset.map((start, axis) => `${start}:${start + (slice.shape[axis] ?? 0)}`).join(', ')}]`;
}

/** The whole of a tensor of `shape`. */
export function wholeSlice(shape: readonly number[]): Slice {
  return { offset: shape.map(() => 0), shape };
}

/** True if `slice` is all of a tensor of `globalShape`. */
export function isWhole(slice: Slice, globalShape: readonly number[]): boolean {
  return slice.offset.every((start) => start === 0) && slice.shape.every((size, axis) => size === globalShape[axis]);
}

/** True if `slice` has the tensor's rank and lies inside it. */
export function isInside(slice: Slice, globalShape: readonly number[]): boolean {
  return (
    slice.offset.length === globalShape.length &&
    slice.shape.length === globalShape.length &&
    slice.offset.every((start, axis) => start >= 0 && start + (slice.shape[axis] ?? 0) <= (globalShape[axis] ?? 0)) &&
    slice.shape.every((size) => size >= 0)
  );
}

/** The part that two slices of one tensor share; undefined if they share no element. */
export function intersection(first: Slice, second: Slice): Slice | undefined {
  const offset: number[] = [];
  const shape: number[] = [];
  for (let axis = 0; axis < first.offset.length; axis++) {
    const firstStart = first.offset[axis] ?? 0;
    const secondStart = second.offset[axis] ?? 0;
    const start = Math.max(firstStart, secondStart);
    const end = Math.min(firstStart + (first.shape[axis] ?? 0), secondStart + (second.shape[axis] ?? 0));
    if (end <= start) return undefined;
    offset.push(start);
    shape.push(end - start);
  }
  return { offset, shape };
}

const volume = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/**
 * What is wrong with a set of slices that should cover every element of a tensor exactly once; undefined if nothing is.
 * Slices without elements are allowed and ignored.
 */
export function tilingProblem(globalShape: readonly number[], slices: readonly Slice[]): string | undefined {
  const outside = slices.find((slice) => !isInside(slice, globalShape));
  if (outside !== undefined) return `slice ${sliceWords(outside)} lies outside the shape [${globalShape.join(', ')}]`;
  const filled = slices.filter((slice) => volume(slice.shape) > 0);
  // Sweep along the first dimension: only slices that are open at the same place can overlap.
  const sorted = filled.toSorted((first, second) => (first.offset[0] ?? 0) - (second.offset[0] ?? 0));
  let open: Slice[] = [];
  for (const slice of sorted) {
    const start = slice.offset[0] ?? 0;
    open = open.filter(
      (earlier) => earlier.offset.length === 0 || (earlier.offset[0] ?? 0) + (earlier.shape[0] ?? 0) > start,
    );
    const overlapping = open.find((earlier) => intersection(earlier, slice) !== undefined);
    if (overlapping !== undefined) return `slices ${sliceWords(overlapping)} and ${sliceWords(slice)} overlap`;
    open.push(slice);
  }
  const covered = filled.reduce((sum, slice) => sum + volume(slice.shape), 0);
  const wanted = volume(globalShape);
  return covered === wanted ? undefined : `its slices hold ${covered} of ${wanted} elements`;
}
