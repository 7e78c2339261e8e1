/** The calls of one group in the order of their beginning: published at once, worked on when all ranks have come. */

import type { Tensor } from '../../tensor/tensor.ts';
import { describeCall } from './calls.ts';
import type { Group } from './group.ts';
import { ringLength } from './group-memory.ts';
import type { Described } from './waiting.ts';

/** What a rank wants to do with its group. */
export interface CallPlan {
  readonly kind: number;
  readonly count: number;
  readonly root?: number;
  /** Published to the other ranks. */
  readonly address?: bigint;
  /** Kept alive until the call is complete. */
  readonly tensors?: readonly Tensor[];
  /** Puts this rank's data into the published call. */
  readonly publish?: (sequence: number) => void;
  /** This rank's part, when all have published. */
  readonly work?: (call: RunningCall) => void;
  /** Whether other ranks use this rank's memory until they are done too. */
  readonly lendsMemory?: boolean;
  /** Whether the work waits for other ranks' work; then it is not begun before somebody waits for it. */
  readonly blocks?: boolean;
  readonly countsMayDiffer?: boolean;
}

export interface RunningCall extends Described {
  readonly sequence: number;
  readonly plan: CallPlan;
}

export class CallQueue {
  readonly #group: Group;
  /** Begun and not yet worked on. */
  readonly #waiting: RunningCall[] = [];
  #sequence = 0;
  #incomplete = 0;

  constructor(group: Group) {
    this.#group = group;
  }

  /** Calls that were begun and not finished. */
  get incomplete(): number {
    return this.#incomplete;
  }

  /** Publishes a call. Blocks only when as many are in flight as the ring holds. */
  begin(plan: CallPlan): RunningCall {
    const group = this.#group;
    group.run.throwIfFailed();
    const sequence = (this.#sequence + 1) | 0;
    const call: RunningCall = {
      sequence,
      plan,
      describe: () => `${describeCall(plan.kind, plan.count, plan.root ?? 0)} #${sequence} of the ${group.label}`,
    };
    // the place in the ring is free when all ranks are done with the call that had it before
    const previous = (sequence - ringLength) | 0;
    this.#workThrough(previous);
    group.waitForAll('done', previous, call);

    this.#sequence = sequence;
    this.#incomplete++;
    for (const tensor of plan.tensors ?? []) tensor.retain();
    const { kind, root = 0, count, address = 0n } = plan;
    group.memory.publish(group.rank, sequence, { kind, root, count, address });
    plan.publish?.(sequence);
    group.advance('published', sequence);
    this.#waiting.push(call);
    return call;
  }

  /** Does this rank's part of whatever all ranks have published, without waiting. */
  progress(): void {
    for (let call = this.#waiting[0]; call !== undefined && !call.plan.blocks; call = this.#waiting[0]) {
      if (!this.#group.haveAll('published', call.sequence)) return;
      this.#work(call);
    }
  }

  /**
   * Blocks until the call is complete on this rank and nobody uses its memory any more. When that fails, the tensors stay
   * retained for good: another rank may still be writing to them.
   */
  complete(call: RunningCall): void {
    this.#workThrough(call.sequence);
    if (call.plan.lendsMemory) this.#group.waitForAll('done', call.sequence, call);
    for (const tensor of call.plan.tensors ?? []) tensor.release();
    this.#incomplete--;
  }

  run(plan: CallPlan): void {
    this.complete(this.begin(plan));
  }

  #workThrough(sequence: number): void {
    for (let call = this.#waiting[0]; call !== undefined; call = this.#waiting[0]) {
      if (((call.sequence - sequence) | 0) > 0) return;
      this.#group.waitForAll('published', call.sequence, call);
      this.#work(call);
    }
  }

  #work(call: RunningCall): void {
    const { sequence, plan } = call;
    this.#group.expectSameCall(sequence, plan.countsMayDiffer ?? false);
    plan.work?.(call);
    this.#waiting.shift();
    this.#group.advance('done', sequence);
  }
}
