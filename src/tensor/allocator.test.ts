import { describe, expect, it } from 'vitest';
import { EngineError } from '../base/errors.ts';
import { type Block, CachingAllocator, MemoryPool, roundUpSize } from './allocator.ts';
import { createReferenceEngine } from './engines/reference.ts';

/** A source that counts, with at most `limit` bytes. */
function countedSource(limit = Number.POSITIVE_INFINITY) {
  const state = { taken: 0, allocations: 0 };
  const allocator = new CachingAllocator({
    allocate(bytes): Block | undefined {
      if (state.taken + bytes > limit) return undefined;
      state.taken += bytes;
      state.allocations++;
      return { buffer: new ArrayBuffer(bytes), byteOffset: 0, address: 0n, capacity: bytes };
    },
    release(block) {
      state.taken -= block.capacity;
    },
  });
  return { allocator, state };
}

describe('roundUpSize', () => {
  it('gives at least what is asked, and wastes at most an eighth of anything above 4 KiB', () => {
    for (let bytes = 1; bytes < 2 ** 34; bytes = Math.ceil(bytes * 1.37)) {
      const size = roundUpSize(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(size % 512).toBe(0);
      if (bytes >= 4096) expect(size - bytes).toBeLessThanOrEqual(bytes / 8);
      else expect(size - bytes).toBeLessThan(512);
      expect(roundUpSize(size)).toBe(size);
    }
  });

  it('leaves powers of two alone', () => {
    for (let power = 9; power < 40; power++) expect(roundUpSize(2 ** power)).toBe(2 ** power);
  });
});

describe('pools', () => {
  it('keep their blocks for the work that runs in them', () => {
    const { allocator, state } = countedSource();
    const pool = new MemoryPool();
    const inside = allocator.within(pool, () => allocator.allocate(1000, 'activations'));
    allocator.release(inside, 'activations'); // outside, and it goes back all the same
    const outside = allocator.allocate(1000, 'parameters');
    expect(outside).not.toBe(inside);
    expect(allocator.within(pool, () => allocator.allocate(1000, 'activations'))).toBe(inside);
    // what came from elsewhere goes back there
    allocator.within(pool, () => allocator.release(outside, 'parameters'));
    expect(allocator.allocate(1000, 'parameters')).toBe(outside);
    expect(state.allocations).toBe(2);
    expect(allocator.count().current).toBe(2048);
  });

  it('take what nobody uses, and give it to everybody when they are closed', () => {
    const { allocator, state } = countedSource();
    const use = () => {
      const pool = new MemoryPool();
      allocator.within(pool, () => allocator.release(allocator.allocate(1000, 'activations'), 'activations'));
      allocator.close(pool);
    };
    allocator.release(allocator.allocate(1000, 'workspace'), 'workspace');
    for (let i = 0; i < 5; i++) use();
    expect(state.allocations).toBe(1);
  });

  it('nest, and end with an error', () => {
    const { allocator } = countedSource();
    const [outer, inner] = [new MemoryPool(), new MemoryPool()];
    const take = () => allocator.allocate(512, 'workspace');
    const [first, second, third] = allocator.within(outer, () => {
      const blocks = [take(), allocator.within(inner, take)];
      expect(() => allocator.within(inner, () => allocator.within(outer, () => JSON.parse('{')))).toThrow(SyntaxError);
      return [...blocks, take()];
    });
    for (const block of [first, second, third]) if (block) allocator.release(block, 'workspace');
    expect(allocator.within(inner, take)).toBe(second);
    expect([first, third]).toContain(allocator.within(outer, take));
    expect([first, second, third]).not.toContain(take());
  });

  it('give unused blocks up when memory is out, unless captured work uses them', () => {
    const { allocator, state } = countedSource(2048);
    const pool = new MemoryPool();
    const use = () =>
      allocator.within(pool, () => allocator.release(allocator.allocate(1024, 'workspace'), 'workspace'));
    use();
    allocator.release(allocator.allocate(2048, 'workspace'), 'workspace');
    use();
    pool.fixed = true;
    expect(() => allocator.allocate(2048, 'workspace')).toThrow(EngineError);
    allocator.trim();
    expect(state.taken).toBe(1024);
    const used = allocator.within(pool, () => allocator.allocate(1024, 'workspace'));
    allocator.close(pool);
    expect(allocator.allocate(1024, 'workspace')).not.toBe(used);
    allocator.release(used, 'workspace');
    expect(allocator.allocate(1024, 'workspace')).toBe(used);
    expect(state.taken).toBe(2048);
  });
});

describe('CachingAllocator', () => {
  it('hands a freed block out again instead of asking the system', () => {
    const { allocator, state } = countedSource();
    const first = allocator.allocate(1000, 'activations');
    allocator.release(first, 'activations');
    expect(allocator.allocate(900, 'workspace')).toBe(first);
    expect(state.allocations).toBe(1);
  });

  it('gives two living tensors two blocks', () => {
    const { allocator } = countedSource();
    expect(allocator.allocate(8, 'activations')).not.toBe(allocator.allocate(8, 'activations'));
  });

  it('counts bytes by kind, now and at the peak', () => {
    const { allocator } = countedSource();
    const a = allocator.allocate(512, 'parameters');
    const b = allocator.allocate(1024, 'activations');
    allocator.release(b, 'activations');
    const c = allocator.allocate(512, 'activations');
    expect(allocator.count('parameters')).toEqual({ current: 512, peak: 512 });
    expect(allocator.count('activations')).toEqual({ current: 512, peak: 1024 });
    expect(allocator.count()).toEqual({ current: 1024, peak: 1536 });
    expect(allocator.held).toBe(2048);
    allocator.resetPeak();
    expect(allocator.count('activations')).toEqual({ current: 512, peak: 512 });
    expect(allocator.count()).toEqual({ current: 1024, peak: 1024 });
    allocator.release(a, 'parameters');
    allocator.release(c, 'activations');
    expect(allocator.count().current).toBe(0);
  });

  it('gives everything unused back on trim, and on disposal', () => {
    const { allocator, state } = countedSource();
    const blocks = [1, 2, 3].map((n) => allocator.allocate(n * 512, 'activations'));
    for (const block of blocks.slice(1)) allocator.release(block, 'activations');
    allocator.trim();
    expect(state.taken).toBe(512);
    expect(allocator.held).toBe(512);
    allocator.release(blocks[0] as Block, 'activations');
    allocator[Symbol.dispose]();
    expect(state.taken).toBe(0);
    expect(allocator.held).toBe(0);
  });

  it('frees its unused blocks before it gives up, and then says what is in use', () => {
    const { allocator } = countedSource(4096);
    allocator.release(allocator.allocate(2048, 'activations'), 'activations');
    allocator.allocate(4096, 'parameters'); // needs the 2048 back
    let error: unknown;
    try {
      allocator.allocate(512, 'gradients');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toMatch(/for gradients.*parameters 4/);
    expect((error as EngineError).remedy).toContain('--micro-batch-size');
    expect(allocator.count().current).toBe(4096);
  });
});

it('of the reference engine says what is held when memory is out', () => {
  using engine = createReferenceEngine();
  expect(() => engine.memory.allocate(2 ** 52, 'activations')).toThrow(EngineError);
});
