/** Choosing the algorithm of a matrix product by running several, timed by the GPU itself. */

import { meansUnsupported, type PlannedProduct } from '../../../ffi/cuda/cublas-lt.ts';
import { type CudaDriver, eventWithTiming } from '../../../ffi/cuda/driver.ts';
import { CudaError, Out } from '../../../ffi/cuda/status.ts';

/** Times work on a stream by two events, so that what the host takes to begin it does not count. */
export class StreamTimer implements Disposable {
  readonly #driver: CudaDriver;
  readonly #stream: bigint;
  readonly #events: readonly [bigint, bigint];

  constructor(driver: CudaDriver, stream: bigint) {
    this.#driver = driver;
    this.#stream = stream;
    const newEvent = (): bigint => {
      const out = new Out();
      driver.cuEventCreate(out.place, eventWithTiming);
      return out.pointer;
    };
    this.#events = [newEvent(), newEvent()];
  }

  /** Milliseconds of one of `runs` runs in a row. */
  milliseconds(run: () => void, runs: number): number {
    const [begin, end] = this.#events;
    this.#driver.cuEventRecord(begin, this.#stream);
    for (let i = 0; i < runs; i++) run();
    this.#driver.cuEventRecord(end, this.#stream);
    this.#driver.cuEventSynchronize(end);
    const out = new Out();
    this.#driver.cuEventElapsedTime(out.place, begin, end);
    return out.float / runs;
  }

  [Symbol.dispose](): void {
    for (const event of this.#events) this.#driver.cuEventDestroy_v2(event);
  }
}

/** Whether an error says that the library has no algorithm, or refuses one: then nothing was begun. */
export const isUnsupported = (error: unknown): boolean => error instanceof CudaError && meansUnsupported(error.status);

/** Runs with the first algorithm that the library does not refuse, which stays chosen. @throws CudaError where it refuses all. */
export function runFirst(planned: PlannedProduct, run: () => void): void {
  for (let index = 0; ; index++) {
    planned.choose(index);
    try {
      run();
      return;
    } catch (error) {
      if (!isUnsupported(error) || index + 1 >= planned.algorithms) throw error;
    }
  }
}

export interface Choice {
  /** Place in the library's order. */
  readonly index: number;
  readonly milliseconds: number;
  /** Of the first algorithm in the library's order that runs. */
  readonly firstMilliseconds: number;
}

const roughRuns = 3;
const finalists = 4;
/** The library's first choice stays where no other takes less than this share of its time: bits change less often. */
const margin = 0.98;

/** Milliseconds that the finalists are timed for each. */
const fineMilliseconds = 4;
const runsFor = (milliseconds: number): number =>
  Math.max(5, Math.min(100, Math.ceil(fineMilliseconds / Math.max(milliseconds, 1e-3))));

/**
 * Takes the fastest of the planned algorithms, timed roughly, then the best of them again at length. Those that the library
 * refuses are passed over.
 *
 * @param run runs the product as it is chosen; into memory that nobody reads
 * @throws CudaError where it refuses all of them
 */
export function chooseFastest(planned: PlannedProduct, run: () => void, timer: StreamTimer): Choice {
  let refusal: unknown;
  const timeOf = (index: number, runs: number): number => {
    planned.choose(index);
    try {
      run(); // loads its kernel
      return timer.milliseconds(run, runs);
    } catch (error) {
      if (!isUnsupported(error)) throw error;
      refusal = error;
      return Number.POSITIVE_INFINITY;
    }
  };
  const rough = Array.from({ length: planned.algorithms }, (_, index) => ({ index, time: timeOf(index, roughRuns) }));
  const able = rough.filter(({ time }) => time < Number.POSITIVE_INFINITY);
  const [first] = able;
  if (!first) throw refusal;
  const best = able.toSorted((a, b) => a.time - b.time).slice(0, finalists);
  const fine = [first, ...best.filter((one) => one !== first)].map(({ index, time }) => ({
    index,
    time: timeOf(index, runsFor(time)),
  }));
  const firstMilliseconds = fine[0]?.time ?? first.time;
  const fastest = fine.reduce((a, b) => (b.time < a.time ? b : a));
  const taken = fastest.time < margin * firstMilliseconds ? fastest : { index: first.index, time: firstMilliseconds };
  planned.choose(taken.index);
  return { index: taken.index, milliseconds: taken.time, firstMilliseconds };
}
