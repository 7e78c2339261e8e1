/** Plans of the collectives on tensors, by the three ways that numbers go from rank to rank. */

import { byteLengthOf } from '../../tensor/cost.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ReduceOperation } from '../communicator.ts';
import { reduceArrays } from '../reduce.ts';
import type { CallPlan } from './call-queue.ts';
import { kindOf, type Path } from './calls.ts';
import type { Group } from './group.ts';
import { inlineBytes } from './group-memory.ts';
import { copyNative, reduceNative, sharesMemory } from './native.ts';
import * as staged from './staged.ts';

/** Above this a native reduction, with its second meeting of the ranks, costs less than adding up in TypeScript. */
const shortForNative = 1024;

const pathOf = (tensor: Tensor): Exclude<Path, 'shared GPU'> => {
  const native = sharesMemory(tensor.engine);
  if (byteLengthOf(tensor) <= (native ? shortForNative : inlineBytes)) return 'inline';
  return native ? 'native' : 'staged';
};

/** Parts begin at whole cache lines, whatever the element type, so that two ranks never write to one line. */
const partAlignment = 64;
const partBegin = (count: number, part: number, parts: number): number =>
  Math.min(count, Math.ceil((count * part) / parts / partAlignment) * partAlignment);

const inlineSources = (group: Group, sequence: number, tensor: Tensor) =>
  Array.from({ length: group.size }, (_, rank) => group.inlineView(rank, sequence, tensor.dtype, tensor.size));

const publishInline = (group: Group, tensor: Tensor) => (sequence: number) =>
  group.inlineView(group.rank, sequence, tensor.dtype, tensor.size).set(tensor.data);

/** Each rank reduces its part of the tensor and writes it into the tensors of all. */
export function planAllReduce(group: Group, tensor: Tensor, operation: ReduceOperation): CallPlan {
  const { dtype } = tensor;
  const path = pathOf(tensor);
  const count = tensor.size;
  const common = { kind: kindOf('all-reduce', dtype, operation, path), count, tensors: [tensor] };
  switch (path) {
    case 'inline':
      return {
        ...common,
        publish: publishInline(group, tensor),
        work: ({ sequence }) => reduceArrays(inlineSources(group, sequence, tensor), tensor.data, dtype, operation),
      };
    case 'native':
      return {
        ...common,
        address: tensor.address,
        lendsMemory: true,
        work({ sequence }) {
          const places = group.addresses(sequence);
          const begin = partBegin(count, group.rank, group.size);
          const size = partBegin(count, group.rank + 1, group.size) - begin;
          const reduction = { dtype, operation, sourceBegin: begin, destinationBegin: begin, count: size };
          reduceNative(tensor.engine, { ...reduction, sources: places, destinations: places });
        },
      };
    case 'staged':
      return { ...common, blocks: true, work: (call) => staged.allReduce(group, call, tensor, dtype, operation) };
  }
}

/** @param input [size · n], @param output [n] */
export function planReduceScatter(group: Group, input: Tensor, output: Tensor): CallPlan {
  const { dtype } = input;
  const path = pathOf(input);
  const common = { kind: kindOf('reduce-scatter', dtype, 'sum', path), count: input.size, tensors: [input, output] };
  const begin = group.rank * output.size;
  switch (path) {
    case 'inline':
      return {
        ...common,
        publish: publishInline(group, input),
        work({ sequence }) {
          const parts = inlineSources(group, sequence, input).map((all) => all.subarray(begin, begin + output.size));
          reduceArrays(parts, output.data, dtype, 'sum');
        },
      };
    case 'native':
      return {
        ...common,
        address: input.address,
        lendsMemory: true,
        work: ({ sequence }) =>
          reduceNative(output.engine, {
            ...{ sources: group.addresses(sequence), destinations: [output.address], dtype, operation: 'sum' },
            ...{ sourceBegin: begin, destinationBegin: 0, count: output.size },
          }),
      };
    case 'staged':
      return { ...common, blocks: true, work: (call) => staged.reduceScatter(group, call, input, output, dtype) };
  }
}

/** @param input [n], @param output [size · n] */
export function planAllGather(group: Group, input: Tensor, output: Tensor): CallPlan {
  const path = pathOf(input);
  const common = {
    kind: kindOf('all-gather', input.dtype, undefined, path),
    count: input.size,
    tensors: [input, output],
  };
  switch (path) {
    case 'inline':
      return {
        ...common,
        publish: publishInline(group, input),
        work({ sequence }) {
          const { data } = output;
          for (const [rank, part] of inlineSources(group, sequence, input).entries()) data.set(part, rank * input.size);
        },
      };
    case 'native':
      return {
        ...common,
        address: input.address,
        lendsMemory: true,
        work({ sequence }) {
          const bytes = byteLengthOf(input);
          const to = output.address;
          const copies = group.addresses(sequence).map((from, rank) => ({ from, to: to + BigInt(rank * bytes) }));
          copyNative(output.engine, copies, bytes);
        },
      };
    case 'staged':
      return { ...common, blocks: true, work: (call) => staged.allGather(group, call, input, output) };
  }
}

export function planBroadcast(group: Group, tensor: Tensor, root: number): CallPlan {
  const path = pathOf(tensor);
  const isRoot = group.rank === root;
  const common = {
    kind: kindOf('broadcast', tensor.dtype, undefined, path),
    count: tensor.size,
    root,
    tensors: [tensor],
  };
  switch (path) {
    case 'inline':
      return {
        ...common,
        ...(isRoot ? { publish: publishInline(group, tensor) } : {}),
        work({ sequence }) {
          if (!isRoot) tensor.data.set(group.inlineView(root, sequence, tensor.dtype, tensor.size));
        },
      };
    case 'native':
      return {
        ...common,
        address: tensor.address,
        lendsMemory: isRoot,
        work({ sequence }) {
          if (isRoot) return;
          const from = group.memory.addressOf(root, sequence);
          copyNative(tensor.engine, [{ from, to: tensor.address }], tensor.size * bytesPerElement[tensor.dtype]);
        },
      };
    case 'staged':
      return { ...common, blocks: true, work: (call) => staged.broadcast(group, call, tensor, root) };
  }
}
