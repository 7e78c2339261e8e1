/** What was seen of a rank's work: spans that lie in each other, in the order in which they began. */

import { memoryKinds } from '../../tensor/allocator.ts';
import { costOf } from '../../tensor/cost.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import { type Kernel, type KernelArgument, valueTypeOf } from '../../tensor/kernel.ts';
import type { CollectiveWork, Observer, Work } from '../../tensor/observer.ts';
import { formatShape } from '../../tensor/shape.ts';

export interface KernelFacts {
  /** Element type that it multiplies in. */
  readonly dtype: DType;
  /** `f32 [2048, 768], …`: its tensors. */
  readonly tensors: string;
  readonly flops: number;
  readonly bytes: number;
}

export type CollectiveFacts = Pick<CollectiveWork, 'group' | 'number' | 'bytes' | 'part'>;

export interface Span {
  readonly kind: Work['kind'];
  readonly name: string;
  readonly direction?: 'forward' | 'backward';
  /** How many spans it lies in. */
  readonly depth: number;
  /** Milliseconds of a clock that all processes of a host share. */
  readonly begin: number;
  readonly end: number;
  readonly kernel?: KernelFacts;
  readonly collective?: CollectiveFacts;
  /** Bytes in use at the end, of each of `memoryKinds`. */
  readonly memory?: readonly number[];
}

/** What one rank saw. */
export interface RankSpans {
  readonly rank: number;
  /** Words for the rank's place. */
  readonly label: string;
  readonly host: string;
  /** When recording began, right after a barrier of all ranks. */
  readonly begun: number;
  readonly spans: readonly Span[];
}

interface OpenSpan {
  readonly work: Work;
  readonly depth: number;
  begin: number;
  end: number;
  memory?: readonly number[];
}

/** From this thread's `performance.now()` to the host's monotonic clock, in milliseconds. */
const hostClock = (): number => Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Notes all work between `begin` and `take`; at other times it lets work pass. */
export class SpanRecorder implements Observer {
  readonly #offset = hostClock();
  #engine: Engine | undefined;
  #open: OpenSpan[] = [];
  #depth = 0;

  /** Starts to record the work on an engine, which is told to report here; returns the time. */
  begin(engine: Engine): number {
    this.#engine = engine;
    engine.observer = this;
    return performance.now() + this.#offset;
  }

  /** What was recorded; recording ends. */
  take(): Span[] {
    const engine = this.#engine;
    if (!engine) return [];
    engine.observer = undefined;
    this.#engine = undefined;
    const spans = this.#open.map((span) => closedSpan(span, this.#offset, engine));
    this.#open = [];
    return spans;
  }

  during<Result>(work: Work, body: () => Result): Result {
    if (!this.#engine) return body();
    const end = this.start(work);
    try {
      return body();
    } finally {
      end();
    }
  }

  /** Begins a span that is not one function's; call what comes back at its end. */
  start(work: Work): () => void {
    const engine = this.#engine;
    if (!engine) return () => {};
    const span: OpenSpan = { work, depth: this.#depth++, begin: 0, end: 0 };
    this.#open.push(span);
    span.begin = performance.now();
    return () => {
      // where kernels run behind our back, each is waited for, or its time would count for a later one
      if (work.kind === 'kernel') engine.synchronize();
      span.end = performance.now();
      this.#depth--;
      if (work.kind === 'operator') span.memory = memoryKinds.map((kind) => engine.memory.count(kind).current);
    };
  }
}

function closedSpan({ work, depth, begin, end, memory }: OpenSpan, offset: number, engine: Engine): Span {
  const place = { kind: work.kind, depth, begin: begin + offset, end: end + offset };
  switch (work.kind) {
    case 'kernel':
      return { ...place, name: work.kernel.name, kernel: kernelFacts(work.kernel, work.values, engine) };
    case 'operator':
      return { ...place, name: work.name, direction: work.direction, ...(memory ? { memory } : {}) };
    case 'collective': {
      const { name, group, number, bytes, part } = work;
      return { ...place, name, collective: { group, number, bytes, part } };
    }
    default:
      return { ...place, name: work.name };
  }
}

/** Tensors are asked for their shapes alone: their memory may be another's by now. */
function kernelFacts(kernel: Kernel, values: readonly KernelArgument[], engine: Engine): KernelFacts {
  const tensors = values.filter((value) => typeof value === 'object');
  return {
    dtype: valueTypeOf(kernel, values, engine.floatType),
    tensors: tensors.map(({ dtype, shape }) => `${dtype} ${formatShape(shape)}`).join(', '),
    ...costOf(kernel, values),
  };
}
