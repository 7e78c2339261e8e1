import { describe, expect, it } from 'vitest';
import { EngineError, UsageError } from '../../base/errors.ts';
import { CollectiveError } from '../errors.ts';
import { createRun } from './communicator.ts';
import { OutputOrder } from './output.ts';
import { createSharedRunMemory, hasReached, SharedRun } from './shared-run.ts';

describe('hasReached', () => {
  it.each([
    [5, 5, true],
    [6, 5, true],
    [4, 5, false],
    [-(2 ** 31), 2 ** 31 - 1, true], // one step past the wrap
    [2 ** 31 - 1, -(2 ** 31), false],
    [0, -3, true],
  ])('a counter at %d and a target of %d: %s', (counter, target, reached) => {
    expect(hasReached(Int32Array.of(counter), 0, target)).toBe(reached);
  });
});

describe('SharedRun', () => {
  it('keeps the first failure, and shows it to every thread', () => {
    const { run } = createRun(2);
    const other = new SharedRun(run.memory);
    expect(() => other.throwIfFailed()).not.toThrow();
    run.fail(1, new EngineError('no memory', { remedy: 'Buy some.' }));
    run.fail(0, new Error('a consequence'));
    const failure = other.failure();
    expect(failure).toMatchObject({ rank: 1, message: 'rank 1 failed: no memory', remedy: 'Buy some.' });
    expect(failure?.cause).toBeInstanceOf(EngineError);
    expect(() => other.throwIfFailed()).toThrow('rank 1 failed: no memory');
  });

  it('shortens a failure that says too much', () => {
    const { run } = createRun(1);
    run.fail(0, new UsageError(`größer ${'界'.repeat(100_000)}`));
    expect(run.failure()?.message).toMatch(/^rank 0 failed: größer 界{7000}/);
  });

  it.each(['words', undefined, 7])('takes anything that was thrown: %s', (thrown) => {
    const { run } = createRun(1);
    run.fail(0, thrown);
    expect(run.failure()?.message).toBe(`rank 0 failed: ${thrown}`);
  });

  it('hands out memory that does not overlap, and says when there is no more', () => {
    const run = new SharedRun(createSharedRunMemory(3, 4096));
    const offsets = [run.allocate(1000), run.allocate(1), run.allocate(64)];
    expect(offsets.map((offset) => offset - (offsets[0] as number))).toEqual([0, 1024, 1088]);
    expect((offsets[0] as number) % 64).toBe(0);
    expect(() => run.allocate(4096)).toThrow(CollectiveError);
  });
});

describe('OutputOrder', () => {
  const piece = (ticket: number) =>
    ({ type: 'output', ticket, stream: 'stdout', text: new Uint8Array([ticket]) }) as const;

  it('writes in the order of the tickets, and what follows a gap when it is flushed', () => {
    const written: number[] = [];
    const order = new OutputOrder(({ ticket }) => void written.push(ticket));
    for (const ticket of [1, 0, 3, 2]) order.add(piece(ticket));
    expect(written).toEqual([0, 1, 2, 3]);
    for (const ticket of [7, 5]) order.add(piece(ticket));
    expect(written).toHaveLength(4);
    order.flush();
    order.flush();
    expect(written).toEqual([0, 1, 2, 3, 5, 7]);
  });
});
