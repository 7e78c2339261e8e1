/** A rank without its others: arguments are checked as everywhere, bytes are counted, nothing moves. */

import { describe, expect, it } from 'vitest';
import { ShapeError, UsageError } from '../base/errors.ts';
import { createMetaEngine } from '../tensor/engines/meta.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { Tensor } from '../tensor/tensor.ts';
import { allReduce } from './communicator.ts';
import { CollectiveError } from './errors.ts';
import { simulatedCommunicator } from './simulated.ts';

describe('a simulated group', () => {
  const group = simulatedCommunicator(1, 3, 'tensor group');

  it('counts what it would move', () => {
    using engine = createMetaEngine();
    using part = Tensor.empty(engine, [10]);
    using whole = Tensor.empty(engine, [30]);
    const before = { ...group.statistics };
    allReduce(group, whole);
    group.allGather(part, whole);
    group.reduceScatter(whole, part);
    group.broadcast(part, 2);
    group.send(part, 0);
    group.receive(part, 2);
    group.barrier();
    expect(group.statistics.calls - before.calls).toBe(7);
    expect(group.statistics.bytes - before.bytes).toBe(4 * (3 * 30 + 3 * 10));
  });

  it('leaves numbers as they are', () => {
    using engine = createReferenceEngine();
    using x = Tensor.from(engine, [1, 2], [2]);
    allReduce(group, x);
    expect(x.toArray()).toEqual([1, 2]);
  });

  it('hears from all ranks what this one says', () => {
    expect(group.exchange({ host: 'a' })).toEqual([{ host: 'a' }, { host: 'a' }, { host: 'a' }]);
  });

  it('refuses what any group refuses, and a split', () => {
    using engine = createMetaEngine();
    using x = Tensor.empty(engine, [10]);
    expect(() => group.allGather(x, x)).toThrow(ShapeError);
    expect(() => group.broadcast(x, 3)).toThrow(UsageError);
    expect(() => group.send(x, 1)).toThrow(UsageError);
    expect(() => group.split(0, 0, 'half')).toThrow(CollectiveError);
    expect(() => simulatedCommunicator(3, 3, 'group')).toThrow(UsageError);
  });
});
