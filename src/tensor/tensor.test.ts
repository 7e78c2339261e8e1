import { describe, expect, it } from 'vitest';
import { expectSame } from '../../test/support/closeness.ts';
import { describeOnEngines, exactEngine } from '../../test/support/engines.ts';
import { EngineError, ShapeError } from '../base/errors.ts';
import { accumulate } from './accumulate.ts';
import type { Engine } from './engine.ts';
import { createReferenceEngine } from './engines/reference.ts';
import { Tensor } from './tensor.ts';

const inUse = (engine: Engine): number => engine.memory.count().current;

describeOnEngines('Tensor', (engine) => {
  it('holds numbers row by row', () => {
    using x = Tensor.from(engine(), [1, 2, 3, 4, 5, 6], [2, 3]);
    expect(x.size).toBe(6);
    expect(x.toArray()).toEqual([1, 2, 3, 4, 5, 6]);
    x.write([9], 4);
    expect(x.toArray()).toEqual([1, 2, 3, 4, 9, 6]);
    expect(Array.from(x.read())).toEqual(x.toArray());
    expect(() => x.write([1, 2], 5)).toThrow(ShapeError);
    x.writeBytes((bytes) => bytes.fill(0, 0, 8));
    expect(x.toArray().slice(0, 2)).toEqual([0, 0]);
  });

  it('is filled and copied, in every type', () => {
    for (const dtype of [engine().floatType, 'bf16', 'f16', 'i32'] as const) {
      using x = Tensor.empty(engine(), [5], { dtype });
      x.fill(-3);
      using y = Tensor.copyOf(x);
      x.fill(2);
      expect([...y.toArray(), ...x.toArray()]).toEqual([-3, -3, -3, -3, -3, 2, 2, 2, 2, 2]);
      using other = Tensor.zeros(engine(), [4], { dtype });
      expect(() => other.copyFrom(x)).toThrow(ShapeError);
    }
  });

  it('gives a number later, as it was when asked for', () => {
    using x = Tensor.from(engine(), [1, 2, 3], [3]);
    using second = x.view([1], 1);
    const later = Array.from({ length: 100 }, (_, i) => {
      second.fill(i);
      return second.itemLater();
    });
    second.fill(-1);
    expect(later.map((read) => read())).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(later[3]?.()).toBe(3); // may be asked again
  });

  it('takes and gives more than one piece of what is staged at a time', () => {
    const size = 2_500_001; // 10 MB
    const values = Float32Array.from({ length: size }, (_, i) => i);
    using x = Tensor.from(engine(), values, [size]);
    expectSame(x.read(), values, 'values');
  });

  it('is poisoned in tests until it is written', () => {
    using empty = Tensor.empty(engine(), [3]);
    expect(empty.toArray().every(Number.isNaN)).toBe(true);
    using zeros = Tensor.zeros(engine(), [3]);
    expect(zeros.toArray()).toEqual([0, 0, 0]);
  });

  it('gives its memory back once, however often it is disposed', () => {
    const before = inUse(engine());
    const x = Tensor.zeros(engine(), [100]);
    const other = Tensor.zeros(engine(), [100]);
    x[Symbol.dispose]();
    x[Symbol.dispose]();
    const next = Tensor.zeros(engine(), [100]);
    next.fill(7);
    expect(other.toArray().every((value) => value === 0)).toBe(true);
    other[Symbol.dispose]();
    next[Symbol.dispose]();
    expect(inUse(engine())).toBe(before);
  });

  it('refuses every use after disposal', () => {
    const x = Tensor.zeros(engine(), [2, 3]);
    x[Symbol.dispose]();
    for (const use of [
      () => x.read(),
      () => x.write([1]),
      () => x.fill(1),
      () => x.address,
      () => x.toArray(),
      () => x.view([6]),
      () => x.retain(),
    ]) {
      expect(use).toThrow(EngineError);
      expect(use).toThrow('[2, 3]');
    }
    using y = Tensor.zeros(engine(), [6]);
    expect(() => accumulate(engine(), y, x, 6)).toThrow(EngineError);
  });

  it('lives on while something retains it', () => {
    const before = inUse(engine());
    const x = Tensor.from(engine(), [1, 2], [2]).retain();
    x[Symbol.dispose]();
    expect(x.toArray()).toEqual([1, 2]);
    expect(x.holders).toBe(1);
    x.release();
    expect(inUse(engine())).toBe(before);
    expect(() => x.release()).toThrow(EngineError);
  });

  it('shares its memory with views, until the last of them goes', () => {
    const before = inUse(engine());
    const x = Tensor.from(engine(), [1, 2, 3, 4, 5, 6], [2, 3]);
    const row = x.view([3], 3);
    const last = row.view([1], 2);
    expect(row.toArray()).toEqual([4, 5, 6]);
    expect(last.item()).toBe(6);
    expect(row.sharesMemory(x)).toBe(true);
    expect(x.isExclusive).toBe(false);
    x[Symbol.dispose]();
    row.write([8], 2);
    expect(last.item()).toBe(8);
    row[Symbol.dispose]();
    expect(last.isExclusive).toBe(true);
    expect(inUse(engine())).toBeGreaterThan(before);
    last[Symbol.dispose]();
    expect(inUse(engine())).toBe(before);
  });

  it('refuses views that leave it', () => {
    using x = Tensor.zeros(engine(), [2, 3]);
    for (const [shape, offset] of [
      [[7], 0],
      [[3], 4],
      [[3], -1],
      [[-1], 0],
      [[1.5], 0],
      [[1], 0.5],
    ] as const) {
      expect(() => x.view(shape, offset), `${shape} at ${offset}`).toThrow(ShapeError);
    }
  });

  it('refuses impossible shapes and counts that do not fit', () => {
    const before = inUse(engine());
    for (const shape of [[-1], [1.5], [Number.NaN]]) expect(() => Tensor.empty(engine(), shape)).toThrow(ShapeError);
    expect(() => Tensor.from(engine(), [1, 2, 3], [2])).toThrow(ShapeError);
    expect(inUse(engine())).toBe(before);
  });

  it('may be empty, or a scalar', () => {
    using empty = Tensor.zeros(engine(), [0, 3]);
    using scalar = Tensor.from(engine(), [5], []);
    expect(empty.toArray()).toEqual([]);
    expect(scalar.item()).toBe(5);
    expect(() => empty.item()).toThrow(ShapeError);
  });

  it('frees its gradient with itself', () => {
    const before = inUse(engine());
    const x = Tensor.zeros(engine(), [4], { requiresGrad: true });
    x.grad = Tensor.zeros(engine(), [4], { kind: 'gradients' });
    expect(engine().memory.count('gradients').current).toBeGreaterThan(0);
    x[Symbol.dispose]();
    expect(inUse(engine())).toBe(before);
  });
});

describeOnEngines('Engine.scope', (engine) => {
  it('frees what was made inside, but not what is returned', () => {
    const before = inUse(engine());
    const kept = engine().scope(() => {
      Tensor.zeros(engine(), [1000]);
      const pair = [Tensor.zeros(engine(), [1]), Tensor.zeros(engine(), [2])];
      Tensor.zeros(engine(), [1000]);
      return pair;
    });
    expect(kept.map((tensor) => tensor.toArray())).toEqual([[0], [0, 0]]);
    for (const tensor of kept) tensor[Symbol.dispose]();
    expect(inUse(engine())).toBe(before);
  });

  it('hands what is returned to the scope around it', () => {
    const before = inUse(engine());
    engine().scope(() => {
      const inner = engine().scope(() => Tensor.zeros(engine(), [3]));
      expect(inner.toArray()).toEqual([0, 0, 0]);
    });
    expect(inUse(engine())).toBe(before);
  });

  it('frees everything when its body throws', () => {
    const before = inUse(engine());
    expect(() =>
      engine().scope(() => {
        Tensor.zeros(engine(), [3]);
        throw new RangeError('on purpose');
      }),
    ).toThrow('on purpose');
    expect(inUse(engine())).toBe(before);
    engine()
      .scope(() => Tensor.zeros(engine(), [1]))
      [Symbol.dispose](); // the scopes are in order again
    expect(inUse(engine())).toBe(before);
  });

  it('leaves alone what outlives it by a retain', () => {
    const x = engine().scope(() => {
      const tensor = Tensor.from(engine(), [1], [1]).retain();
      return { tensor };
    }).tensor;
    expect(x.item()).toBe(1);
    x.release();
    expect(() => x.item()).toThrow(EngineError);
  });
});

describe('kernels', () => {
  it('refuse tensors of another engine, of another dtype, and missing ones', () => {
    using engine = exactEngine();
    using other = createReferenceEngine('f64');
    using x = Tensor.zeros(engine, [2]);
    using foreign = Tensor.zeros(other, [2]);
    using ids = Tensor.zeros(engine, [2], { dtype: 'i32' });
    using single = Tensor.zeros(engine, [2], { dtype: 'f32' });
    expect(() => accumulate(engine, x, foreign, 2)).toThrow('another engine');
    expect(() => accumulate(engine, x, ids, 2)).toThrow('i32');
    expect(() => accumulate(engine, x, single, 2)).toThrow('f32');
    expect(() => accumulate(engine, x, undefined as unknown as Tensor, 2)).toThrow('missing');
  });
});
