/** Waiting for another rank: a short spin, then sleep with open eyes for failures, early returns and deadlocks. */

import { availableParallelism } from 'node:os';
import { CollectiveError } from '../errors.ts';
import { hasReached, type SharedRun, type Wait } from './shared-run.ts';

/** About 50 µs: the usual difference between ranks that do the same work. */
const longSpin = 1000;
/** About 1 µs: what ranks get that share a core with the one they wait for, for whom a spin is only in the way. */
const shortSpin = 20;
/** After a long spin in vain, one wait in so many tries again whether it pays. */
const trial = 32;
const sleepMilliseconds = 50;

/** Says in words what a rank is doing. */
export interface Described {
  describe(): string;
}

/** One rank's way to wait for the others of its run. */
export class Waiter {
  readonly #run: SharedRun;
  readonly #rank: number;
  readonly #longSpin: number;
  #spins: number;
  #shortWaits = 0;

  /** @param rank in the run */
  constructor(run: SharedRun, rank: number) {
    this.#run = run;
    this.#rank = rank;
    this.#longSpin = run.size > availableParallelism() ? shortSpin : longSpin;
    this.#spins = this.#longSpin;
  }

  /**
   * Blocks until the counter at `index` reaches `target`.
   *
   * @param sleepers index of the word that counts who sleeps on that counter
   * @param peer the rank of the run that owns the counter
   * @throws RankFailure when a rank failed; CollectiveError when the counter can never come to `target`.
   */
  waitFor(index: number, sleepers: number, target: number, peer: number, action: Described): void {
    const { words } = this.#run;
    if (hasReached(words, index, target)) return;
    if (this.#spins < this.#longSpin && ++this.#shortWaits % trial === 0) this.#spins = this.#longSpin;
    for (let spin = 0; spin < this.#spins; spin++) {
      Atomics.pause();
      if (hasReached(words, index, target)) {
        this.#spins = this.#longSpin;
        return;
      }
    }
    this.#spins = shortSpin;
    this.#sleep(index, sleepers, target, peer, action);
  }

  #sleep(index: number, sleepers: number, target: number, peer: number, action: Described): void {
    const run = this.#run;
    const { words } = run;
    // told to the others only when it takes long: most sleeps are too short for words
    let wait: Wait | undefined;
    Atomics.add(words, sleepers, 1);
    try {
      while (true) {
        const value = Atomics.load(words, index);
        if (((value - target) | 0) >= 0) return;
        run.throwIfFailed();
        if (Atomics.wait(words, index, value, sleepMilliseconds) !== 'timed-out') continue;
        if (wait === undefined) {
          wait = { index, target, peer, text: action.describe() };
          run.beginWait(this.#rank, wait);
        }
        this.#expectHope(wait);
      }
    } finally {
      Atomics.sub(words, sleepers, 1);
      if (wait !== undefined) run.endWait(this.#rank);
    }
  }

  /** @throws CollectiveError when nobody is left who could end this wait. */
  #expectHope(wait: Wait): void {
    const run = this.#run;
    const sentence = (rank: number, { text, peer }: Wait) => `rank ${rank} waits in ${text} for rank ${peer}`;
    if (run.hasFinished(wait.peer) && !hasReached(run.words, wait.index, wait.target)) {
      this.#giveUp(`${sentence(this.#rank, wait)}, whose rank function has already returned`);
    }
    const stuck = this.#stuckRanks();
    if (stuck === undefined) return;
    const waits = stuck.map((rank) => sentence(rank, run.waitOf(rank)));
    if (run.hasFailed) return; // found by another rank at the same time
    this.#giveUp(`the ranks wait for each other in vain: ${waits.join('; ')}`);
  }

  #giveUp(message: string): never {
    const error = new CollectiveError(message, {
      remedy:
        'Every rank of a group must make the same calls in the same order; --debug-collectives shows where they part.',
    });
    this.#run.fail(this.#rank, error);
    throw error;
  }

  /**
   * The waiting ranks when all ranks wait or have returned, and no wait is about to end. Only ranks that run change
   * counters, so if no rank began or ended a wait while we looked, none ever will.
   */
  #stuckRanks(): readonly number[] | undefined {
    const run = this.#run;
    const waiting: number[] = [];
    const versions: number[] = [];
    for (let rank = 0; rank < run.size; rank++) {
      if (run.hasFinished(rank)) continue;
      const version = run.waitVersion(rank);
      if (version % 2 === 0) return undefined;
      waiting.push(rank);
      versions.push(version);
    }
    for (const rank of waiting) {
      const { index, target } = run.waitOf(rank);
      if (hasReached(run.words, index, target)) return undefined;
    }
    return waiting.every((rank, i) => run.waitVersion(rank) === versions[i]) ? waiting : undefined;
  }
}

/** Moves this rank's own counter on, and wakes who sleeps on it. */
export function advance(words: Int32Array, index: number, sleepers: number, value: number): void {
  Atomics.store(words, index, value);
  if (Atomics.load(words, sleepers) > 0) Atomics.notify(words, index);
}
