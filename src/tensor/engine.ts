/** An engine: a memory and a way to run kernels. Each rank has one of its own; nothing is shared between engines. */

import type { CachingAllocator } from './allocator.ts';
import type { DType } from './dtype.ts';
import type { Kernel, KernelArgument } from './kernel.ts';
import type { CudaDevice } from './launch.ts';
import type { Observer } from './observer.ts';
import type { Tensor } from './tensor.ts';

const engineNames = ['cpu', 'reference', 'cuda'] as const;
export type EngineName = (typeof engineNames)[number];

/** What a tape wants to know of an operator that ran; see autograd/tape.ts. */
export interface Recorder {
  record(entry: RecordedOperator | RecordedSegment): void;
  /** Whether nobody will read the outputs of the operators to come: they are recorded, and need not be computed. */
  readonly outputsUnread: boolean;
}

interface RecordedStep {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
  /** Tensors that the backward pass reads; kept alive until it has. */
  readonly saved: readonly Tensor[];
}

export interface RecordedOperator extends RecordedStep {
  readonly backward: (outputGradient: Tensor, gradients: GradientSink) => void;
}

/** Operators that kept only what they started from; see autograd/recompute.ts. */
export interface RecordedSegment extends RecordedStep {
  /** Runs them again, and returns their output again. */
  readonly again: () => Tensor;
  /** How many they are. */
  readonly operators: number;
  /** The first of them whose output, and that of all after it, no backward pass reads. */
  readonly firstUnread: number;
}

/** Where an operator's backward pass puts the gradients of its inputs. */
export interface GradientSink {
  /** Whether anyone asks for this input's gradient. */
  wants(input: Tensor): boolean;
  /**
   * Calls `write(destination, accumulate)` with the input's gradient: the kernel must add to the destination when
   * `accumulate` is true, and overwrite it (its contents are undefined) when false.
   */
  into(input: Tensor, write: (destination: Tensor, accumulate: boolean) => void): void;
  /** Says that the input's gradient is `gradient` itself, so that no copy is made. */
  pass(input: Tensor, gradient: Tensor): void;
  /**
   * Whether this memory may take a gradient in place of its contents: an operator on the tape made it (it is not a leaf's),
   * and no backward pass still to come reads it.
   */
  mayOverwrite(tensor: Tensor): boolean;
}

/** Moves numbers to, from and within memory that JavaScript cannot see, in order with the kernels. */
export interface DeviceMemory {
  /** The source may change as soon as this returns. */
  upload(destination: bigint, source: Uint8Array): void;
  /** Waits for all work before it. */
  download(source: bigint, destination: Uint8Array): void;
  /** Begins to fetch a few bytes; calling the result waits for them. They are as of now, whatever is written later. */
  downloadLater(source: bigint, bytes: number): () => Uint8Array<ArrayBuffer>;
  copy(destination: bigint, source: bigint, bytes: number): void;
  /** Writes the pattern of a number, `count` times. */
  fill(destination: bigint, pattern: Uint8Array, count: number): void;
  /** Waits for all work. */
  synchronize(): void;
  /** Marks a point between the work begun before and that to come; gives, when it is over, its time in milliseconds, since the first mark. */
  mark?(): () => number;
}

/** Streams of a GPU beside the engine's own, and the events that put their work in order. What is made here ends with the engine. */
export interface GpuStreams {
  newStream(): bigint;
  newEvent(): bigint;
  /** The event stands for all work that the stream has been given so far; for what it stood for before no longer. */
  record(event: bigint, stream: bigint): void;
  /** What the stream is given from now on begins when the work that the event stands for now is done. */
  wait(stream: bigint, event: bigint): void;
}

/** What a GPU needs to talk to others. */
export interface GpuPlace {
  /** Which it is on its machine, whatever each process calls it. */
  readonly address: string;
  /** All work of the engine is on it. */
  readonly stream: bigint;
  readonly streams: GpuStreams;
  /** Path of NCCL's library, where there is one. */
  readonly nccl: string | undefined;
}

/** Work that a device has recorded with its addresses and numbers, and does again at one call. */
export interface CapturedWork extends Disposable {
  /** Begins all of it, in order with what was begun before. */
  run(): void;
}

/** Runs kernels on one kind of hardware. */
export interface Backend extends Disposable {
  readonly name: EngineName;
  /** One line for people: library, units, threads. */
  readonly description: string;
  readonly threads: number;
  /** Whether work goes on after the call that begins it: on a device, unless it waits after every kernel. */
  readonly goesOn: boolean;
  /** Undefined where tensors lie in memory that JavaScript sees. */
  readonly device?: DeviceMemory;
  /** The GPU that it runs on: its number on this machine, and what launches depend on. */
  readonly gpu?: GpuPlace & { readonly number: number; readonly device: CudaDevice };
  run(kernel: Kernel, values: readonly KernelArgument[]): void;
  /**
   * Records what `body` begins instead of doing it. It must not pass numbers between the host and the device, and what it
   * allocates must stay untouched by all but captured work. Undefined where there is nothing to gain, or it was switched off.
   *
   * @throws EngineError where the body did what cannot be recorded.
   */
  readonly capture?: ((body: () => void) => CapturedWork) | undefined;
}

export class Engine implements Disposable {
  readonly memory: CachingAllocator;
  readonly backend: Backend;
  /** Element type of activations, parameters and gradients. */
  readonly floatType: DType;
  /** The tape that is recording, if any. */
  recorder: Recorder | undefined;
  /** Who watches the work, if anybody does. */
  observer: Observer | undefined;
  readonly #scopes: Set<Tensor>[] = [];

  constructor(backend: Backend, memory: CachingAllocator, floatType: DType = 'f32') {
    this.backend = backend;
    this.memory = memory;
    this.floatType = floatType;
  }

  get name(): EngineName {
    return this.backend.name;
  }

  /** Called by every new tensor, so that the innermost scope can free it. */
  adopt(tensor: Tensor): void {
    this.#scopes.at(-1)?.add(tensor);
  }

  /** Called by every disposed tensor: no scope needs to free it any more. */
  forget(tensor: Tensor): void {
    for (const scope of this.#scopes) scope.delete(tensor);
  }

  /**
   * Runs `body`, then disposes every tensor it made except those it returns (a tensor, or an array of tensors).
   * `using` frees earlier; a scope frees what was forgotten, also when `body` throws.
   */
  scope<Result>(body: () => Result): Result {
    const tensors = new Set<Tensor>();
    this.#scopes.push(tensors);
    let result: Result | undefined;
    try {
      result = body();
      return result;
    } finally {
      this.#scopes.pop();
      const kept = new Set<unknown>(Array.isArray(result) ? result : [result]);
      for (const tensor of tensors) {
        if (kept.has(tensor)) this.adopt(tensor);
        else tensor[Symbol.dispose]();
      }
    }
  }

  /** Waits for all work that was begun: for clocks, and where something else reads this engine's memory. */
  synchronize(): void {
    this.backend.device?.synchronize();
  }

  /** Runs `body` without recording: evaluation, generation, weight updates. */
  withoutRecording<Result>(body: () => Result): Result {
    return this.withRecorder(undefined, body);
  }

  /** Runs `body` while another recorder, or none, takes the place of the present one. */
  withRecorder<Result>(other: Recorder | undefined, body: () => Result): Result {
    const { recorder } = this;
    this.recorder = other;
    try {
      return body();
    } finally {
      this.recorder = recorder;
    }
  }

  [Symbol.dispose](): void {
    using parts = new DisposableStack(); // all, also where one fails
    parts.use(this.backend);
    parts.use(this.memory);
    parts.defer(() => this.synchronize()); // first: other ranks' work on this memory is waited for by work of this engine
  }
}
