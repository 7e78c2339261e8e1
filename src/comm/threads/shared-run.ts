/** The memory that the ranks of one run share: who failed, who waits for what, and room for the groups' control words. */

import { messageOf } from '../../base/errors.ts';
import { CollectiveError, type PlainError, plainError, RankFailure, restoreError } from '../errors.ts';

/** What crosses to a thread; `SharedRun` is the way to use it. */
export interface SharedRunMemory {
  readonly size: number;
  readonly control: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
}

/** Everything that two ranks write lies on lines of its own, so that processors do not fight over them. */
export const lineBytes = 64;

const header = { failed: 0, failedRank: 1, failureBytes: 2, stopRequested: 3, nextLine: 4, nextOutput: 5 } as const;
const failureCapacity = 64 * 1024;
const failureOffset = lineBytes;
const ranksOffset = failureOffset + failureCapacity;

/** Of each rank: one line of words, then the words of what it waits in. */
const rankWords = { status: 0, version: 1, index: 2, target: 3, peer: 4, textBytes: 5 } as const;
const waitTextCapacity = 448;
const rankStride = lineBytes + waitTextCapacity;

/** Of each rank: where the reference engine's tensors pass through. */
export const stagingBytes = 256 * 1024;

const failing = 1;
const failed = 2;
const finished = 1;

/** @param groupBytes room for all groups that the run will ever make; the system gives pages only to what is used */
export function createSharedRunMemory(size: number, groupBytes: number): SharedRunMemory {
  const fixed = ranksOffset + size * rankStride;
  const control = new SharedArrayBuffer(fixed + groupBytes);
  new Int32Array(control)[header.nextLine] = fixed / lineBytes;
  return { size, control, staging: new SharedArrayBuffer(size * stagingBytes) };
}

/** What a rank waits for: that a shared word of another rank reaches a value. */
export interface Wait {
  readonly index: number;
  readonly target: number;
  /** In the run. */
  readonly peer: number;
  readonly text: string;
}

/** One thread's hold on the shared memory of a run. */
export class SharedRun {
  readonly size: number;
  readonly memory: SharedRunMemory;
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  readonly longs: BigUint64Array;
  readonly bytes: Buffer;

  constructor(memory: SharedRunMemory) {
    this.size = memory.size;
    this.memory = memory;
    this.words = new Int32Array(memory.control);
    this.doubles = new Float64Array(memory.control);
    this.longs = new BigUint64Array(memory.control);
    this.bytes = Buffer.from(memory.control as unknown as ArrayBuffer);
  }

  /** Zeroed memory for a group. @throws CollectiveError when there is none left. */
  allocate(bytes: number): number {
    const lines = Math.ceil(bytes / lineBytes);
    const offset = Atomics.add(this.words, header.nextLine, lines) * lineBytes;
    if (offset + bytes > this.bytes.length) {
      throw new CollectiveError('this run has made too many groups of ranks', {
        remedy: 'Make groups once, at the start, and keep them: their memory is not given back before the run ends.',
      });
    }
    return offset;
  }

  /** A number for a piece of output: the order of the numbers is the order of the prints. */
  takeOutputTicket(): number {
    return Atomics.add(this.words, header.nextOutput, 1);
  }

  get stopRequested(): boolean {
    return Atomics.load(this.words, header.stopRequested) !== 0;
  }

  requestStop(): void {
    Atomics.store(this.words, header.stopRequested, 1);
  }

  /** Records the run's first failure; later ones are consequences and change nothing. */
  fail(rank: number, error: unknown): void {
    if (Atomics.compareExchange(this.words, header.failed, 0, failing) !== 0) return;
    let text = JSON.stringify(plainError(error));
    if (Buffer.byteLength(text) > failureCapacity) {
      // a compiler's words, say: the beginning tells most
      text = JSON.stringify({ ...plainError(error), message: messageOf(error).slice(0, 8000), stack: undefined });
    }
    this.words[header.failedRank] = rank;
    this.words[header.failureBytes] = this.bytes.write(text, failureOffset, failureCapacity);
    Atomics.store(this.words, header.failed, failed);
  }

  get hasFailed(): boolean {
    return Atomics.load(this.words, header.failed) !== 0;
  }

  /** The run's first failure, if any. */
  failure(): RankFailure | undefined {
    if (!this.hasFailed) return undefined;
    // whoever is writing the record is about to be done
    for (const end = performance.now() + 1000; Atomics.load(this.words, header.failed) !== failed; ) {
      if (performance.now() > end) return new RankFailure(-1, new Error('a rank ended while it reported its error'));
    }
    const length = this.words[header.failureBytes] as number;
    const plain = JSON.parse(this.bytes.toString('utf8', failureOffset, failureOffset + length)) as PlainError;
    return new RankFailure(this.words[header.failedRank] as number, restoreError(plain));
  }

  /** @throws RankFailure when any rank has failed. */
  throwIfFailed(): void {
    if (this.hasFailed) throw this.failure();
  }

  /** Says that the rank will take part in nothing any more. */
  finish(rank: number): void {
    Atomics.store(this.words, this.#rankIndex(rank) + rankWords.status, finished);
  }

  hasFinished(rank: number): boolean {
    return Atomics.load(this.words, this.#rankIndex(rank) + rankWords.status) === finished;
  }

  /** Publishes what the rank waits for, until `endWait`. */
  beginWait(rank: number, wait: Wait): void {
    const at = this.#rankIndex(rank);
    this.words[at + rankWords.index] = wait.index;
    this.words[at + rankWords.target] = wait.target;
    this.words[at + rankWords.peer] = wait.peer;
    const offset = at * 4 + lineBytes;
    this.words[at + rankWords.textBytes] = this.bytes.write(wait.text, offset, waitTextCapacity);
    Atomics.add(this.words, at + rankWords.version, 1); // odd: waiting
  }

  endWait(rank: number): void {
    Atomics.add(this.words, this.#rankIndex(rank) + rankWords.version, 1);
  }

  /** A number that changes whenever the rank begins or ends a wait; odd while it waits. */
  waitVersion(rank: number): number {
    return Atomics.load(this.words, this.#rankIndex(rank) + rankWords.version);
  }

  waitOf(rank: number): Wait {
    const at = this.#rankIndex(rank);
    const offset = at * 4 + lineBytes;
    return {
      index: this.words[at + rankWords.index] as number,
      target: this.words[at + rankWords.target] as number,
      peer: this.words[at + rankWords.peer] as number,
      text: this.bytes.toString('utf8', offset, offset + (this.words[at + rankWords.textBytes] as number)),
    };
  }

  #rankIndex(rank: number): number {
    return (ranksOffset + rank * rankStride) / 4;
  }
}

/** Whether a counter has come to `target`; counters wrap around. */
export function hasReached(words: Int32Array, index: number, target: number): boolean {
  return ((Atomics.load(words, index) - target) | 0) >= 0;
}
