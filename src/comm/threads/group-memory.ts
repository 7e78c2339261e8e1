/** The control words of one group in the shared memory: counters, published calls, and mailboxes between two ranks. */

import { lineBytes, type SharedRun } from './shared-run.ts';

/** Calls that may be in flight at once before a rank must wait for the slowest. */
export const ringLength = 4;
/** Tensors up to this size travel inside the published call. */
export const inlineBytes = 4096;

const entryBytes = lineBytes + inlineBytes;
const rankBytes = lineBytes + ringLength * entryBytes;

/** Counters of a rank, as words of its line; each only grows, and only its rank changes it. */
export const counters = {
  /** Calls begun. */
  published: 0,
  /** Calls of which this rank has done its part. */
  done: 1,
  /** Steps inside calls that go through staging memory. */
  step: 2,
  /** How many ranks sleep on one of these; changed by the sleepers. */
  sleepers: 3,
} as const;

/** A call as its rank published it. */
export interface PublishedCall {
  /** Operation, element type and path in one number; see calls.ts. */
  readonly kind: number;
  readonly root: number;
  /** Elements; of an exchange, bytes. */
  readonly count: number;
  /** Native address of the tensor; 0 where it does not go by address. */
  readonly address: bigint;
}

/** Counters of a mailbox from one rank to another. */
const mailWords = { sent: 0, received: 1, sleepers: 2 } as const;

export class GroupMemory {
  readonly run: SharedRun;
  readonly size: number;
  readonly #offset: number;

  constructor(run: SharedRun, size: number, offset: number) {
    this.run = run;
    this.size = size;
    this.#offset = offset;
  }

  /** Bytes that a group of `size` ranks needs. */
  static bytesFor(size: number): number {
    return size * rankBytes + size * size * lineBytes;
  }

  /** Index of a rank's counter among the run's words. */
  counter(rank: number, name: keyof typeof counters): number {
    return (this.#offset + rank * rankBytes) / 4 + counters[name];
  }

  publish(rank: number, sequence: number, { kind, root, count, address }: PublishedCall): void {
    this.#write(this.#entry(rank, sequence), kind, root, count, address);
  }

  published(rank: number, sequence: number): PublishedCall {
    return this.#read(this.#entry(rank, sequence));
  }

  kindOf(rank: number, sequence: number): number {
    return this.run.words[this.#entry(rank, sequence) / 4] as number;
  }

  rootOf(rank: number, sequence: number): number {
    return this.run.words[this.#entry(rank, sequence) / 4 + 1] as number;
  }

  countOf(rank: number, sequence: number): number {
    return this.run.doubles[this.#entry(rank, sequence) / 8 + 1] as number;
  }

  addressOf(rank: number, sequence: number): bigint {
    return this.run.longs[this.#entry(rank, sequence) / 8 + 2] as bigint;
  }

  /** Where the data inside a published call begins, in bytes of the run's control memory. */
  inlineOffset(rank: number, sequence: number): number {
    return this.#entry(rank, sequence) + lineBytes;
  }

  /** Index of a mailbox's word. */
  mail(from: number, to: number, name: keyof typeof mailWords): number {
    return this.#mailbox(from, to) / 4 + mailWords[name];
  }

  /** The message's description lies on the mailbox's line too, behind its counters. */
  post(from: number, to: number, { kind, root, count, address }: PublishedCall): void {
    this.#write(this.#mailbox(from, to) + 16, kind, root, count, address);
  }

  posted(from: number, to: number): PublishedCall {
    return this.#read(this.#mailbox(from, to) + 16);
  }

  #write(offset: number, kind: number, root: number, count: number, address: bigint): void {
    const { words, doubles, longs } = this.run;
    words[offset / 4] = kind;
    words[offset / 4 + 1] = root;
    doubles[offset / 8 + 1] = count;
    longs[offset / 8 + 2] = address;
  }

  #read(offset: number): PublishedCall {
    const { words, doubles, longs } = this.run;
    return {
      kind: words[offset / 4] as number,
      root: words[offset / 4 + 1] as number,
      count: doubles[offset / 8 + 1] as number,
      address: longs[offset / 8 + 2] as bigint,
    };
  }

  #entry(rank: number, sequence: number): number {
    return this.#offset + rank * rankBytes + lineBytes + (sequence & (ringLength - 1)) * entryBytes;
  }

  #mailbox(from: number, to: number): number {
    return this.#offset + this.size * rankBytes + (from * this.size + to) * lineBytes;
  }
}
