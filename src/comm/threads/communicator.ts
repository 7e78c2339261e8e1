/** The communicator of ranks that are threads of one process. */

import { UsageError } from '../../base/errors.ts';
import { byteLengthOf } from '../../tensor/cost.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { expectParts, expectPeer, expectRank } from '../arguments.ts';
import type { Communicator, Pending, ReduceOperation } from '../communicator.ts';
import { selfCommunicator } from '../self.ts';
import { StatisticsCounter } from '../statistics.ts';
import { type CallPlan, CallQueue, type RunningCall } from './call-queue.ts';
import { kindOf } from './calls.ts';
import { Group } from './group.ts';
import { GroupMemory, inlineBytes } from './group-memory.ts';
import { Mailbox } from './messages.ts';
import { createSharedRunMemory, SharedRun } from './shared-run.ts';
import { planAllGather, planAllReduce, planBroadcast, planReduceScatter } from './tensor-calls.ts';

/** Groups as large as the world that a run has room for; smaller ones take less. */
const roomForGroups = 256;

export interface NewRun {
  readonly run: SharedRun;
  /** Where the world's memory begins. */
  readonly worldOffset: number;
}

/** The shared memory of a new run, with the world in it: there is nobody yet to agree with. */
export function createRun(size: number): NewRun {
  const worldBytes = GroupMemory.bytesFor(size);
  const run = new SharedRun(createSharedRunMemory(size, roomForGroups * worldBytes));
  return { run, worldOffset: run.allocate(worldBytes) };
}

/** The group of all ranks of a run, on the thread of one of them. */
export function createWorld(run: SharedRun, offset: number, rank: number): ThreadsCommunicator {
  const members = Array.from({ length: run.size }, (_, member) => member);
  return new ThreadsCommunicator(new Group(run, offset, members, rank, 'world'));
}

/** A call in which the ranks work on each other's tensors where they lie. */
export type LendingCall = Pick<CallPlan, 'kind' | 'count' | 'root' | 'tensors' | 'publish'> & {
  /** What this rank lends; kept alive with `tensors` until nobody uses it any more. */
  readonly address: bigint;
  /** This rank's part, when all have published: gets all ranks' addresses, in rank order. */
  readonly work: (addresses: readonly bigint[]) => void;
};

export class ThreadsCommunicator implements Communicator {
  readonly rank: number;
  readonly size: number;
  readonly label: string;
  readonly statistics = new StatisticsCounter();
  /** Ranks meet on the host, which no graph of a device does. */
  readonly capturable = false;
  readonly deviceWay = undefined;
  readonly #group: Group;
  readonly #queue: CallQueue;
  readonly #mailboxes = new Map<string, Mailbox>();

  constructor(group: Group) {
    this.rank = group.rank;
    this.size = group.size;
    this.label = group.label;
    this.#group = group;
    this.#queue = new CallQueue(group);
  }

  /** Reductions that were started and not finished. */
  get incomplete(): number {
    return this.#queue.incomplete;
  }

  prepare(): void {
    // there is nothing to decide: its tensors lie in the host's memory
  }

  startAllReduce(tensor: Tensor, operation: ReduceOperation): Pending {
    const plan = planAllReduce(this.#group, tensor, operation);
    const call = this.statistics.measure(byteLengthOf(tensor), () => {
      const begun = this.#queue.begin(plan);
      this.#queue.progress();
      return begun;
    });
    let isFinished = false;
    return {
      finish: () => {
        if (isFinished) throw new UsageError(`${call.describe()} was finished twice`);
        isFinished = true;
        this.statistics.prolong(() => {
          this.#queue.complete(call);
          this.#queue.progress();
        });
      },
    };
  }

  allGather(input: Tensor, output: Tensor): void {
    expectParts('all-gather', this, output, input);
    this.statistics.measure(byteLengthOf(output), () => this.#queue.run(planAllGather(this.#group, input, output)));
  }

  reduceScatter(input: Tensor, output: Tensor): void {
    expectParts('reduce-scatter', this, input, output);
    this.statistics.measure(byteLengthOf(input), () => this.#queue.run(planReduceScatter(this.#group, input, output)));
  }

  broadcast(tensor: Tensor, root: number): void {
    expectRank('broadcast', this, root);
    this.statistics.measure(byteLengthOf(tensor), () => this.#queue.run(planBroadcast(this.#group, tensor, root)));
  }

  send(tensor: Tensor, to: number): void {
    expectPeer('send', this, to);
    this.#group.run.throwIfFailed();
    this.statistics.measure(byteLengthOf(tensor), () => this.#mailbox(this.rank, to).send(tensor));
  }

  receive(tensor: Tensor, from: number): void {
    expectPeer('receive', this, from);
    this.#group.run.throwIfFailed();
    this.statistics.measure(byteLengthOf(tensor), () => this.#mailbox(from, this.rank).receive(tensor));
  }

  barrier(): void {
    this.statistics.measure(0, () => this.#queue.run({ kind: kindOf('barrier'), count: 0 }));
  }

  exchange<Value>(value: Value): Value[] {
    const bytes = Buffer.from(JSON.stringify(value) ?? 'null');
    return this.statistics
      .measure(bytes.length, () => this.#exchangeBytes(bytes))
      .map((part) => JSON.parse(part.toString()) as Value);
  }

  split(color: number, key: number, label: string): Communicator {
    const all = this.exchange({ color, key });
    const ranks = [...all.keys()].filter((rank) => all[rank]?.color === color);
    ranks.sort((a, b) => (all[a]?.key ?? 0) - (all[b]?.key ?? 0) || a - b);
    const members = ranks.map((rank) => this.#group.memberOf(rank));
    const first = ranks[0] as number;
    const { run } = this.#group;
    // the first rank of each group finds the group's memory, and all hear of it
    const offset = first === this.rank && ranks.length > 1 ? run.allocate(GroupMemory.bytesFor(ranks.length)) : 0;
    const offsets = this.exchange(offset);
    const rank = ranks.indexOf(this.rank);
    const group = new Group(run, offsets[first] as number, members, rank, label);
    return ranks.length === 1 ? selfCommunicator(group.label) : new ThreadsCommunicator(group);
  }

  [Symbol.dispose](): void {
    // its shared memory goes with the run's
  }

  /** Runs a call on addresses of whatever memory; returns when all ranks have done their parts. */
  lend(call: LendingCall): void {
    const work = ({ sequence }: RunningCall): void => call.work(this.#group.addresses(sequence));
    this.#queue.run({ ...call, lendsMemory: true, work });
  }

  /** All ranks' bytes, as many of each at a time as fit into a published call. */
  #exchangeBytes(mine: Buffer): Buffer[] {
    const { memory, run } = this.#group;
    const parts: Buffer[] = Array.from({ length: this.size }, () => Buffer.alloc(0));
    const kind = kindOf('exchange');
    for (let begin = 0, longest = 1; begin < longest; begin += inlineBytes) {
      this.#queue.run({
        kind,
        count: mine.length,
        countsMayDiffer: true,
        publish: (sequence) => {
          const piece = mine.subarray(begin, begin + inlineBytes);
          run.bytes.set(piece, memory.inlineOffset(this.rank, sequence));
        },
        work: ({ sequence }) => {
          for (let rank = 0; rank < this.size; rank++) {
            const length = memory.countOf(rank, sequence);
            if (begin === 0) parts[rank] = Buffer.alloc(length);
            longest = Math.max(longest, length);
            if (begin >= length) continue;
            const from = memory.inlineOffset(rank, sequence);
            parts[rank]?.set(run.bytes.subarray(from, from + Math.min(inlineBytes, length - begin)), begin);
          }
        },
      });
    }
    return parts;
  }

  #mailbox(from: number, to: number): Mailbox {
    const name = `${from} to ${to}`;
    let mailbox = this.#mailboxes.get(name);
    if (mailbox === undefined) {
      mailbox = new Mailbox(this.#group, from, to);
      this.#mailboxes.set(name, mailbox);
    }
    return mailbox;
  }
}
