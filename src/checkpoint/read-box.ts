/** Copies a hyper-rectangle out of a row-major tensor on disk into a row-major tensor in memory, in few and large reads. */

/** Fills `destination` with the bytes at `position` of the stored tensor. */
export type ReadAt = (destination: Uint8Array, position: number) => void;

export interface Box {
  readonly itemBytes: number;
  /** Elements per dimension to copy. */
  readonly shape: readonly number[];
  /** The stored tensor, and where the box begins in it. */
  readonly sourceShape: readonly number[];
  readonly sourceOffset: readonly number[];
  /** The tensor in memory, and where the box begins in it. */
  readonly destinationShape: readonly number[];
  readonly destinationOffset: readonly number[];
}

/** A run this long is read straight into its place; shorter ones are gathered through a window. */
const directRunBytes = 64 * 1024;
/** Bytes between two runs that are cheaper to read over than to skip by another system call. */
const largestGapBytes = 32 * 1024;
const windowBytes = 4 * 1024 * 1024;

function strides(shape: readonly number[]): number[] {
  const result = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) result[axis] = (result[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return result;
}

/** Reads `box` through `readAt` into `destination`, which holds the whole destination tensor. */
export function readBox(box: Box, readAt: ReadAt, destination: Uint8Array): void {
  const { shape, sourceShape, destinationShape, itemBytes } = box;
  if (shape.some((size) => size === 0)) return;
  const sourceStrides = strides(sourceShape);
  const destinationStrides = strides(destinationShape);
  // Trailing dimensions taken whole on both sides, and the one before them, are one contiguous run.
  let runAxis = shape.length - 1;
  while (runAxis > 0 && shape[runAxis] === sourceShape[runAxis] && shape[runAxis] === destinationShape[runAxis])
    runAxis--;
  const runBytes = itemBytes * shape.slice(Math.max(runAxis, 0)).reduce((product, size) => product * size, 1);
  const outer = shape.slice(0, Math.max(runAxis, 0));
  const positionOf = (offset: readonly number[], axisStrides: readonly number[]): number =>
    itemBytes * offset.reduce((sum, start, axis) => sum + start * (axisStrides[axis] ?? 0), 0);
  let source = positionOf(box.sourceOffset, sourceStrides);
  let target = positionOf(box.destinationOffset, destinationStrides);

  const gather = new Gather(readAt, destination, runBytes);
  const index = outer.map(() => 0);
  for (;;) {
    gather.add(source, target);
    let axis = outer.length - 1;
    for (; axis >= 0; axis--) {
      const sourceStep = (sourceStrides[axis] ?? 0) * itemBytes;
      const targetStep = (destinationStrides[axis] ?? 0) * itemBytes;
      const next = (index[axis] ?? 0) + 1;
      if (next < (outer[axis] ?? 0)) {
        index[axis] = next;
        source += sourceStep;
        target += targetStep;
        break;
      }
      index[axis] = 0;
      source -= sourceStep * (next - 1);
      target -= targetStep * (next - 1);
    }
    if (axis < 0) break;
  }
  gather.flush();
}

/** Collects runs that lie near each other in the file and reads them with one call. */
class Gather {
  readonly #readAt: ReadAt;
  readonly #destination: Uint8Array;
  readonly #runBytes: number;
  #window: Buffer | undefined;
  /** Source and target of each waiting run, in turn; sources rise. */
  #waiting: number[] = [];

  constructor(readAt: ReadAt, destination: Uint8Array, runBytes: number) {
    this.#readAt = readAt;
    this.#destination = destination;
    this.#runBytes = runBytes;
  }

  add(source: number, target: number): void {
    if (this.#runBytes >= directRunBytes) {
      this.#readAt(this.#destination.subarray(target, target + this.#runBytes), source);
      return;
    }
    const first = this.#waiting[0];
    const previous = this.#waiting.at(-2);
    if (first !== undefined && previous !== undefined) {
      const gap = source - (previous + this.#runBytes);
      if (gap > largestGapBytes || source + this.#runBytes - first > windowBytes) this.flush();
    }
    this.#waiting.push(source, target);
  }

  flush(): void {
    const first = this.#waiting[0];
    const target = this.#waiting[1];
    if (first === undefined || target === undefined) return;
    if (this.#waiting.length === 2) {
      this.#readAt(this.#destination.subarray(target, target + this.#runBytes), first);
    } else {
      const length = (this.#waiting.at(-2) ?? first) + this.#runBytes - first;
      if (this.#window === undefined || this.#window.byteLength < length) this.#window = Buffer.allocUnsafeSlow(length);
      const window = this.#window;
      this.#readAt(window.subarray(0, length), first);
      for (let run = 0; run < this.#waiting.length; run += 2) {
        const start = (this.#waiting[run] as number) - first;
        window.copy(this.#destination, this.#waiting[run + 1] as number, start, start + this.#runBytes);
      }
    }
    this.#waiting = [];
  }
}
