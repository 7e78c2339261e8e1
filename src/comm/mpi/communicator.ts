/** A group of MPI ranks as a Communicator. */

import { EngineError } from '../../base/errors.ts';
import type { NativeValue } from '../../ffi/native.ts';
import { byteLengthOf } from '../../tensor/cost.ts';
import type { DType } from '../../tensor/dtype.ts';
import { formatShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { expectParts, expectPeer, expectRank } from '../arguments.ts';
import type { Communicator, Pending, ReduceOperation } from '../communicator.ts';
import { CollectiveError } from '../errors.ts';
import { StatisticsCounter } from '../statistics.ts';
import { type Shim, type ShimFunction, shimStatus } from './shim.ts';

/** Numbers of shim/combine.h. */
const elementTypes = { f32: 0, bf16: 1, i32: 2, f64: 3, f16: 4 } as const satisfies Record<DType, number>;
const operations = { sum: 0, max: 1 } as const satisfies Record<ReduceOperation, number>;

/** What all groups of a process share. */
export interface MpiProcess {
  readonly shim: Shim;
  /** The error to throw when another rank announced its failure. */
  readonly peerFailure: () => Error;
}

export interface MpiGroup {
  /** The shim's number of the group. */
  readonly index: number;
  readonly rank: number;
  readonly size: number;
  readonly label: string;
}

/** Where a tensor's numbers lie: in native memory, or in JavaScript's, which does not move its buffers either. */
const placeOf = (tensor: Tensor): NativeValue => tensor.bytes;

const words = (tensor: Tensor): string => `${tensor.dtype} ${formatShape(tensor.shape)}`;

/** Values up to this length travel in the first message of an exchange. */
const shortBytes = 1020;

export function mpiGroup(process: MpiProcess, group: MpiGroup): Communicator {
  const { index, rank, size, label } = group;
  const statistics = new StatisticsCounter();

  /** Calls the shim, and throws what it reports. */
  const call = (what: () => string, name: ShimFunction, ...values: NativeValue[]): void => {
    const status = process.shim.call(name, ...values);
    if (status === shimStatus.fine) return;
    if (status === shimStatus.peerFailed) throw process.peerFailure();
    if (status === shimStatus.sizesDiffer) {
      throw new CollectiveError(`${what()} in the ${label}: another rank sent more or less than that`, {
        remedy: 'Run with --debug-collectives to see which ranks call what.',
      });
    }
    if (status === shimStatus.peerLeft) {
      const left = process.shim.call('culprit');
      throw new CollectiveError(`${what()} in the ${label} waits for rank ${left}, whose work is already over`, {
        remedy: 'Every rank of a group must make the same calls in the same order.',
      });
    }
    if (status === shimStatus.deadlock) {
      throw new CollectiveError(process.shim.lastError(), {
        remedy:
          'Every rank of a group must make the same calls in the same order; --debug-collectives shows where they part.',
      });
    }
    throw new EngineError(`${what()} in the ${label}: ${process.shim.lastError()}`);
  };

  const gather = (what: () => string, input: NativeValue, output: NativeValue, offsets: BigInt64Array): void =>
    call(what, 'gather', index, input, output, offsets);
  const evenOffsets = (bytes: number): BigInt64Array =>
    BigInt64Array.from({ length: size + 1 }, (_, i) => BigInt(i * bytes));
  const slotOffsets = evenOffsets(shortBytes + 4);

  /** The bytes of all ranks, in rank order: short ones in one round of messages, long ones in two. */
  const exchangeBytes = (bytes: Uint8Array): Buffer[] => {
    const what = (): string => 'exchange';
    const slot = Buffer.alloc(shortBytes + 4);
    slot.writeUInt32LE(bytes.byteLength, 0);
    slot.set(bytes.byteLength <= shortBytes ? bytes : [], 4);
    const slots = Buffer.alloc(slot.length * size);
    gather(what, slot, slots, slotOffsets);
    const partOf = (r: number): Buffer => slots.subarray(r * slot.length, (r + 1) * slot.length);
    const lengths = Array.from({ length: size }, (_, r) => partOf(r).readUInt32LE(0));
    if (lengths.every((length) => length <= shortBytes)) {
      return lengths.map((length, r) => partOf(r).subarray(4, 4 + length));
    }
    const ends = lengths.map((_, r) => lengths.slice(0, r + 1).reduce((sum, length) => sum + length, 0));
    const output = Buffer.alloc(ends.at(-1) ?? 0);
    gather(what, bytes, output, BigInt64Array.from([0, ...ends], BigInt));
    return lengths.map((length, r) => output.subarray((ends[r] as number) - length, ends[r]));
  };

  const exchange = <Value>(value: Value): Value[] =>
    exchangeBytes(Buffer.from(JSON.stringify(value) ?? 'null')).map((bytes) => JSON.parse(bytes.toString()) as Value);

  const communicator: Communicator = {
    rank,
    size,
    label,
    statistics,
    capturable: false,
    deviceWay: undefined,
    prepare() {},
    startAllReduce(tensor, operation): Pending {
      const what = (): string => `all-reduce (${operation}) of ${words(tensor)}`;
      const handle = new BigInt64Array(1);
      // Held until the end: native code writes into it. After a failure it stays held, for the same reason.
      tensor.retain();
      statistics.measure(byteLengthOf(tensor), () =>
        call(
          what,
          'start_all_reduce',
          index,
          placeOf(tensor),
          tensor.size,
          elementTypes[tensor.dtype],
          operations[operation],
          handle,
        ),
      );
      return {
        finish() {
          statistics.prolong(() => call(what, 'finish', handle[0] as bigint));
          tensor.release();
        },
      };
    },
    allGather(input, output) {
      expectParts('all-gather', group, output, input);
      statistics.measure(byteLengthOf(output), () =>
        gather(
          () => `all-gather of ${words(input)}`,
          placeOf(input),
          placeOf(output),
          evenOffsets(byteLengthOf(input)),
        ),
      );
    },
    reduceScatter(input, output) {
      expectParts('reduce-scatter', group, input, output);
      const what = (): string => `reduce-scatter of ${words(input)}`;
      statistics.measure(byteLengthOf(input), () =>
        call(what, 'reduce_scatter', index, placeOf(input), placeOf(output), output.size, elementTypes[input.dtype]),
      );
    },
    broadcast(tensor, root) {
      expectRank('broadcast', group, root);
      const what = (): string => `broadcast of ${words(tensor)} from rank ${root}`;
      statistics.measure(byteLengthOf(tensor), () =>
        call(what, 'broadcast', index, placeOf(tensor), byteLengthOf(tensor), root),
      );
    },
    send(tensor, to) {
      expectPeer('send', group, to);
      const what = (): string => `send of ${words(tensor)} to rank ${to}`;
      statistics.measure(byteLengthOf(tensor), () =>
        call(what, 'send', index, placeOf(tensor), byteLengthOf(tensor), to),
      );
    },
    receive(tensor, from) {
      expectPeer('receive', group, from);
      const what = (): string => `receive of ${words(tensor)} from rank ${from}`;
      statistics.measure(byteLengthOf(tensor), () =>
        call(what, 'receive', index, placeOf(tensor), byteLengthOf(tensor), from),
      );
    },
    barrier() {
      statistics.measure(0, () => call(() => 'barrier', 'barrier', index));
    },
    exchange: (value) => statistics.measure(0, () => exchange(value)),
    split(color, key, subLabel) {
      const choices = exchange({ color, key });
      // MPI wants small numbers that are not negative, and its own call cannot be left when another rank fails: all are here
      // now, so it will not be waiting long.
      const colors = [...new Set(choices.map((choice) => choice.color))];
      const members = choices
        .map((choice, member) => ({ ...choice, member }))
        .filter((choice) => choice.color === color)
        .sort((a, b) => a.key - b.key || a.member - b.member);
      const place = members.findIndex(({ member }) => member === rank);
      const made = new Int32Array(1);
      call(() => `split into ${subLabel}`, 'split', index, colors.indexOf(color), place, made);
      const part = { index: made[0] as number, rank: place, size: members.length, label: subLabel };
      return mpiGroup(process, part);
    },
    [Symbol.dispose]() {
      // Frees only what this process holds of the group; after a failure MPI is left as it is.
      if (index !== 0) process.shim.call('free', index);
    },
  };
  return communicator;
}
