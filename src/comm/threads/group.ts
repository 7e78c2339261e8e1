/** One rank's place in one group: its counters, its view of the others' calls, and how it waits for them. */

import { type DType, type TensorData, viewAs } from '../../tensor/dtype.ts';
import { CollectiveError } from '../errors.ts';
import { describeCall, groupLabel } from './calls.ts';
import { type counters, GroupMemory } from './group-memory.ts';
import { hasReached, type SharedRun, stagingBytes } from './shared-run.ts';
import { advance, type Described, Waiter } from './waiting.ts';

/** Views of memory that threads share; the engines' types know only memory of one thread. */
function viewShared(dtype: DType, memory: SharedArrayBuffer, offset: number, length: number): TensorData {
  return viewAs(dtype, memory as unknown as ArrayBuffer, offset, length);
}

export class Group {
  readonly run: SharedRun;
  readonly memory: GroupMemory;
  /** In the group. */
  readonly rank: number;
  readonly size: number;
  /** Numbers of the members in the run. */
  readonly members: readonly number[];
  readonly label: string;
  readonly #waiter: Waiter;
  #step = 0;

  /** @param offset where the group's memory begins, the same on all members */
  constructor(run: SharedRun, offset: number, members: readonly number[], rank: number, label: string) {
    this.run = run;
    this.memory = new GroupMemory(run, members.length, offset);
    this.rank = rank;
    this.size = members.length;
    this.members = members;
    this.label = groupLabel(label, members);
    this.#waiter = new Waiter(run, this.memberOf(rank));
  }

  memberOf(rank: number): number {
    return this.members[rank] as number;
  }

  /** Moves one of this rank's counters on. */
  advance(name: keyof typeof counters, value: number): void {
    const { memory, rank } = this;
    advance(this.run.words, memory.counter(rank, name), memory.counter(rank, 'sleepers'), value);
  }

  /** Blocks until every other rank's counter reaches `value`. */
  waitForAll(name: keyof typeof counters, value: number, action: Described): void {
    const { memory, rank, size } = this;
    // each begins with its neighbour, so that not all look at one line
    for (let i = 1; i < size; i++) {
      const other = (rank + i) % size;
      const sleepers = memory.counter(other, 'sleepers');
      this.#waiter.waitFor(memory.counter(other, name), sleepers, value, this.memberOf(other), action);
    }
  }

  /** Whether every other rank's counter has reached `value` already. */
  haveAll(name: keyof typeof counters, value: number): boolean {
    for (let other = 0; other < this.size; other++) {
      if (other !== this.rank && !hasReached(this.run.words, this.memory.counter(other, name), value)) return false;
    }
    return true;
  }

  /** Blocks until a counter of a mailbox reaches `value`. */
  waitForMail(index: number, sleepers: number, value: number, peer: number, action: Described): void {
    this.#waiter.waitFor(index, sleepers, value, this.memberOf(peer), action);
  }

  /** Blocks until all ranks have come to the same step of a call that goes through staging memory. */
  step(action: Described): void {
    this.#step = (this.#step + 1) | 0;
    this.advance('step', this.#step);
    this.waitForAll('step', this.#step, action);
  }

  /** The data inside a published call. */
  inlineView(rank: number, sequence: number, dtype: DType, length: number): TensorData {
    return viewShared(dtype, this.run.memory.control, this.memory.inlineOffset(rank, sequence), length);
  }

  /** A rank's staging memory as elements of a type. */
  stagingView(rank: number, dtype: DType, length: number): TensorData {
    return viewShared(dtype, this.run.memory.staging, this.memberOf(rank) * stagingBytes, length);
  }

  /** The native addresses that all ranks published with a call, in rank order. */
  addresses(sequence: number): bigint[] {
    return Array.from({ length: this.size }, (_, rank) => this.memory.published(rank, sequence).address);
  }

  /** @throws CollectiveError naming both sides when another rank published another call under this number. */
  expectSameCall(sequence: number, countsMayDiffer: boolean): void {
    const { memory, rank } = this;
    const kind = memory.kindOf(rank, sequence);
    const root = memory.rootOf(rank, sequence);
    const count = memory.countOf(rank, sequence);
    for (let other = 0; other < this.size; other++) {
      if (
        memory.kindOf(other, sequence) === kind &&
        memory.rootOf(other, sequence) === root &&
        (countsMayDiffer || memory.countOf(other, sequence) === count)
      ) {
        continue;
      }
      const theirs = memory.published(other, sequence);
      const sides = [
        { rank, text: describeCall(kind, count, root) },
        { rank: other, text: describeCall(theirs.kind, theirs.count, theirs.root) },
      ].toSorted((a, b) => a.rank - b.rank);
      const words = sides.map((side) => `rank ${this.memberOf(side.rank)}: ${side.text} #${sequence}`).join('; ');
      this.disagree(`the ranks of the ${this.label} make different calls: ${words}`);
    }
  }

  /** Ends the run: after a disagreement nobody can say what the next call would mean. */
  disagree(message: string): never {
    const error = new CollectiveError(message, {
      remedy:
        'Every rank of a group must make the same calls in the same order; --debug-collectives shows where they part.',
    });
    this.run.fail(this.memberOf(this.rank), error);
    throw error;
  }
}
