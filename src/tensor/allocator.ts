/** The caching allocator: all tensor data lives in blocks that are kept for reuse, counted by kind. */

import { EngineError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';

export const memoryKinds = ['parameters', 'gradients', 'optimizer', 'activations', 'workspace'] as const;
export type MemoryKind = (typeof memoryKinds)[number];

/** A piece of memory as JavaScript and native code see it. */
export interface Block {
  /** Undefined for memory of a device, which JavaScript cannot see. */
  readonly buffer: ArrayBuffer | undefined;
  readonly byteOffset: number;
  /** Native address; 0 where only JavaScript reads the block. */
  readonly address: bigint;
  /** Bytes. */
  readonly capacity: number;
}

/** Where an allocator gets memory from and gives it back to. */
export interface BlockSource {
  /** Undefined when there is no more. Contents are undefined too. */
  allocate(bytes: number): Block | undefined;
  release(block: Block): void;
  /** Words for what there is, in messages that there is no more. */
  words?(): string;
  /** Bytes that it can still give, where it has memory of its own. */
  available?(): number;
}

export interface MemoryCount {
  /** Bytes in use now. */
  readonly current: number;
  /** Most bytes in use at once since the last `resetPeak`. */
  readonly peak: number;
}

/** Sizes are rounded up so that a few classes serve all requests: at most an eighth is lost. */
export function roundUpSize(bytes: number): number {
  if (bytes <= 512) return 512;
  const step = 2 ** Math.max(9, Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

/**
 * Blocks of work that is done again and again at the same addresses, kept apart: what lives longer than that work never lies in
 * them. See `CachingAllocator.within`.
 */
export class MemoryPool {
  /** Unused blocks by size. */
  readonly free = new Map<number, Block[]>();
  /** Whether captured work uses these addresses: then unused blocks stay, too. */
  fixed = false;
}

function keep({ free }: MemoryPool, block: Block): void {
  const blocks = free.get(block.capacity);
  if (blocks) blocks.push(block);
  else free.set(block.capacity, [block]);
}

const zeroCounts = (): Record<MemoryKind, number> => ({
  parameters: 0,
  gradients: 0,
  optimizer: 0,
  activations: 0,
  workspace: 0,
});

export class CachingAllocator implements Disposable {
  readonly #source: BlockSource;
  readonly #common = new MemoryPool();
  /** Where blocks are taken from now. */
  #active = this.#common;
  readonly #pools = new Set([this.#common]);
  /** Of blocks that do not belong to the common one. */
  readonly #poolOf = new WeakMap<Block, MemoryPool>();
  readonly #current = zeroCounts();
  readonly #peak = zeroCounts();
  #total = 0;
  #totalPeak = 0;
  #held = 0;

  constructor(source: BlockSource) {
    this.#source = source;
  }

  /** A block of at least `bytes`, contents undefined. @throws EngineError with what is held by kind when memory is out. */
  allocate(bytes: number, kind: MemoryKind): Block {
    const size = roundUpSize(bytes);
    // what nobody uses may join a pool, but nothing leaves it
    let block = this.#active.free.get(size)?.pop() ?? this.#common.free.get(size)?.pop();
    if (!block) {
      block = this.#source.allocate(size);
      if (!block) {
        this.trim();
        block = this.#source.allocate(size);
      }
      if (!block) throw this.#outOfMemory(size, kind);
      this.#held += size;
    }
    if (this.#active !== this.#common) this.#poolOf.set(block, this.#active);
    this.#current[kind] += block.capacity;
    this.#peak[kind] = Math.max(this.#peak[kind], this.#current[kind]);
    this.#total += block.capacity;
    this.#totalPeak = Math.max(this.#totalPeak, this.#total);
    return block;
  }

  /** Takes a block back for reuse. */
  release(block: Block, kind: MemoryKind): void {
    this.#current[kind] -= block.capacity;
    this.#total -= block.capacity;
    const pool = this.#poolOf.get(block);
    keep(pool && this.#pools.has(pool) ? pool : this.#common, block);
  }

  /** Gives unused blocks back to the system, but for those that captured work uses. */
  trim(): void {
    for (const pool of this.#pools) if (!pool.fixed) this.#empty(pool);
  }

  /** Runs `body`, whose blocks come from a pool and go back to it, also when they are released later. */
  within<Result>(pool: MemoryPool, body: () => Result): Result {
    const before = this.#active;
    this.#active = pool;
    this.#pools.add(pool);
    try {
      return body();
    } finally {
      this.#active = before;
    }
  }

  /** Makes a pool's blocks everybody's, those in use when they are released; nothing that was captured may need them any more. */
  close(pool: MemoryPool): void {
    this.#pools.delete(pool);
    for (const blocks of pool.free.values()) for (const block of blocks) keep(this.#common, block);
    pool.free.clear();
  }

  /** Bytes in use of one kind, or of all. */
  count(kind?: MemoryKind): MemoryCount {
    return kind
      ? { current: this.#current[kind], peak: this.#peak[kind] }
      : { current: this.#total, peak: this.#totalPeak };
  }

  /** Bytes taken from the system: in use or kept for reuse. */
  get held(): number {
    return this.#held;
  }

  /** Bytes that can still be taken, where the engine has memory of its own; undefined where it shares the machine's. */
  get available(): number | undefined {
    return this.#source.available?.();
  }

  /** Words for what is in use, by kind, and for what there is. */
  get words(): string {
    const used = memoryKinds.map((name) => `${name} ${formatBytes(this.#current[name])}`).join(', ');
    const source = this.#source.words?.();
    return `in use: ${used}${source === undefined ? '' : `; ${source}`}`;
  }

  /** Starts a new measurement of the peaks. */
  resetPeak(): void {
    Object.assign(this.#peak, this.#current);
    this.#totalPeak = this.#total;
  }

  [Symbol.dispose](): void {
    for (const pool of this.#pools) this.#empty(pool);
  }

  #empty({ free }: MemoryPool): void {
    for (const blocks of free.values()) {
      for (const block of blocks) {
        this.#held -= block.capacity;
        this.#source.release(block);
      }
    }
    free.clear();
  }

  #outOfMemory(size: number, kind: MemoryKind): EngineError {
    return new EngineError(`out of memory: ${formatBytes(size)} more for ${kind} asked, ${this.words}`, {
      remedy: 'Use a smaller --micro-batch-size, --seq-length or model, or more ranks.',
    });
  }
}
