import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../test/support/engines.ts';
import { EngineError, ShapeError } from '../base/errors.ts';
import { add } from '../ops/add/op.ts';
import { gelu } from '../ops/gelu/op.ts';
import { linear } from '../ops/linear/op.ts';
import { multiply } from '../ops/multiply/op.ts';
import { reshape } from '../ops/reshape/op.ts';
import { weightedSum } from '../ops/weighted-sum/op.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import { runOperator } from './record.ts';
import { Tape } from './tape.ts';

const leaf = (engine: Engine, values: readonly number[]): Tensor =>
  Tensor.from(engine, values, [values.length], { requiresGrad: true });
const constant = (engine: Engine, values: readonly number[]): Tensor => Tensor.from(engine, values, [values.length]);
const sum = (x: Tensor): Tensor => weightedSum(x, constant(x.engine, new Array<number>(x.size).fill(1)));
const inUse = (engine: Engine): number => engine.memory.count().current;

describeOnEngines('Tape', (engine) => {
  it('gives leaves without a gradient one of their own', () => {
    const on = engine();
    on.scope(() => {
      const [a, b] = [leaf(on, [1, 2]), leaf(on, [3, 4])];
      using tape = new Tape(on);
      tape.backward(sum(multiply(a, b)), 10);
      expect(a.grad?.toArray()).toEqual([30, 40]);
      expect(b.grad?.toArray()).toEqual([10, 20]);
    });
  });

  it('keeps those gradients when the scope of the step ends', () => {
    const on = engine();
    const before = inUse(on);
    const a = leaf(on, [1, 2]);
    on.scope(() => {
      using tape = new Tape(on);
      tape.backward(sum(a));
    });
    expect(a.grad?.toArray()).toEqual([1, 1]);
    a[Symbol.dispose]();
    expect(inUse(on)).toBe(before);
  });

  it('never lets two leaves share a gradient’s memory', () => {
    // add passes one gradient to both inputs; a second pass adds to each
    const on = engine();
    on.scope(() => {
      const [a, b] = [leaf(on, [1, 2]), leaf(on, [3, 4])];
      {
        using tape = new Tape(on);
        tape.backward(sum(add(a, b)));
      }
      using tape = new Tape(on);
      tape.backward(sum(multiply(a, a)));
      expect(a.grad?.toArray()).toEqual([3, 5]);
      expect(b.grad?.toArray()).toEqual([1, 1]);
    });
  });

  it('copies a shared gradient before it adds to it', () => {
    const on = engine();
    on.scope(() => {
      const [a, b] = [leaf(on, [1, 2]), leaf(on, [3, 4])];
      using tape = new Tape(on);
      const squares = multiply(a, a); // recorded first, so its gradient comes last and is added
      tape.backward(sum(add(squares, add(a, b))));
      expect(a.grad?.toArray()).toEqual([3, 5]);
      expect(b.grad?.toArray()).toEqual([1, 1]);
    });
  });

  it('copies it also when it came through a view', () => {
    const on = engine();
    on.scope(() => {
      const [a, b] = [leaf(on, [1, 2]), leaf(on, [3, 4])];
      using tape = new Tape(on);
      const squares = multiply(a, a);
      tape.backward(sum(add(squares, add(reshape(a, [2]), b))));
      expect(a.grad?.toArray()).toEqual([3, 5]);
      expect(b.grad?.toArray()).toEqual([1, 1]);
    });
  });

  it('adds a tensor to itself', () => {
    const on = engine();
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      using tape = new Tape(on);
      const twice = add(a, a);
      tape.backward(sum(add(twice, twice)));
      expect(a.grad?.toArray()).toEqual([4, 4]);
    });
  });

  it('adds to the gradient that a leaf has, in place', () => {
    const on = engine();
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      const grad = constant(on, [100, 200]);
      a.grad = grad;
      using tape = new Tape(on);
      tape.backward(sum(add(a, multiply(a, a))));
      expect(a.grad).toBe(grad);
      expect(grad.toArray()).toEqual([103, 205]);
    });
  });

  it('skips branches that nothing used, and frees what they saved', () => {
    const on = engine();
    const before = inUse(on);
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      using tape = new Tape(on);
      const loss = sum(a);
      on.scope(() => void gelu(multiply(a, a)));
      tape.backward(loss);
      expect(a.grad?.toArray()).toEqual([1, 1]);
    });
    expect(inUse(on)).toBe(before);
  });

  it('records nothing without a tape, within withoutRecording, or for constants', () => {
    const on = engine();
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      expect(multiply(a, a).requiresGrad).toBe(false);
      using tape = new Tape(on);
      expect(on.withoutRecording(() => multiply(a, a)).requiresGrad).toBe(false);
      const b = constant(on, [1, 2]);
      expect(multiply(b, b).requiresGrad).toBe(false);
      expect(multiply(a, b).requiresGrad).toBe(true);
      tape.backward(sum(multiply(b, a)));
      expect(b.grad).toBeUndefined();
    });
  });

  it('stops recording when it is disposed, and gives the outer tape its place back', () => {
    const on = engine();
    on.scope(() => {
      const a = leaf(on, [3]);
      using outer = new Tape(on);
      {
        using inner = new Tape(on);
        inner.backward(sum(multiply(a, a)));
      }
      expect(a.grad?.toArray()).toEqual([6]);
      outer.backward(sum(multiply(a, a)));
      expect(a.grad?.toArray()).toEqual([12]);
    });
    expect(on.recorder).toBeUndefined();
  });

  it('frees activations as backward proceeds', () => {
    const on = engine();
    on.scope(() => {
      const width = 1024;
      const a = leaf(on, new Array<number>(width).fill(0.5));
      a.grad = Tensor.zeros(on, [width]);
      const unit = 4 * width;
      const start = inUse(on);
      using tape = new Tape(on);
      const seen: number[] = [];
      const loss = on.scope(() => {
        let x = a;
        for (let i = 0; i < 8; i++) {
          const before = x;
          // an operator that looks at the memory in use when its turn comes
          x = gelu(
            runOperator({
              name: 'probe',
              inputs: [before],
              shape: before.shape,
              forward: (y) => y.copyFrom(before),
              backward: (dy, gradients) => {
                seen.push((inUse(on) - start) / unit);
                gradients.pass(before, dy);
              },
            }),
          );
        }
        return weightedSum(x, Tensor.from(on, new Float32Array(width).fill(1), [width]));
      });
      // 8 saved inputs of gelu, the weights of the sum
      expect(Math.floor((inUse(on) - start) / unit)).toBe(9);
      tape.backward(loss);
      expect(seen.length).toBe(8);
      // by the time of each probe the gelu after it has given its input back: 7, 6, … saved and one gradient on its way
      for (const [i, units] of seen.entries()) expect(Math.floor(units), `probe ${i}`).toBe(7 - i + 1);
    });
  });

  it('uses the same memory in every step', () => {
    const on = engine();
    const before = inUse(on);
    on.scope(() => {
      const weight = Tensor.from(on, new Float32Array(64).fill(0.1), [8, 8], { requiresGrad: true });
      const held: number[] = [];
      const peaks: number[] = [];
      for (let step = 0; step < 50; step++) {
        on.memory.resetPeak();
        on.scope(() => {
          using tape = new Tape(on);
          let x = Tensor.from(on, new Float32Array(32).fill(1), [4, 8]);
          for (let i = 0; i < 3; i++) x = gelu(linear(x, weight));
          tape.backward(weightedSum(x, Tensor.from(on, new Float32Array(32).fill(1), [4, 8])));
        });
        held.push(on.memory.held);
        peaks.push(on.memory.count().peak);
      }
      expect(new Set(held.slice(1)).size).toBe(1);
      expect(new Set(peaks.slice(1)).size).toBe(1);
    });
    expect(inUse(on)).toBe(before);
  });

  it('frees everything when a backward pass fails, and records no more', () => {
    const on = engine();
    const before = inUse(on);
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      expect(() => {
        using tape = new Tape(on);
        using side = gelu(a); // its gradient is on its way when the pass fails
        const broken = runOperator({
          name: 'broken',
          inputs: [a],
          shape: a.shape,
          saved: [a],
          forward: (y) => y.copyFrom(a),
          backward: () => {
            throw new RangeError('on purpose');
          },
        });
        const loss = sum(add(multiply(broken, broken), add(side, a)));
        side[Symbol.dispose]();
        tape.backward(loss);
      }).toThrow('on purpose');
      expect(on.recorder).toBeUndefined();
      expect(a.grad, 'half a gradient').toBeUndefined();
      expect(a.holders).toBe(1);
    });
    expect(inUse(on)).toBe(before);
  });

  it('frees everything when it is disposed without a backward pass', () => {
    const on = engine();
    const before = inUse(on);
    on.scope(() => {
      const a = leaf(on, [1, 2]);
      using tape = new Tape(on);
      gelu(multiply(a, a));
      expect(on.recorder).toBe(tape);
    });
    expect(inUse(on)).toBe(before);
  });

  it('drops the gradient of a leaf that nobody holds any more', () => {
    const on = engine();
    const before = inUse(on);
    on.scope(() => {
      using tape = new Tape(on);
      const loss = (() => {
        using lost = leaf(on, [1, 2]);
        return sum(multiply(lost, lost));
      })();
      tape.backward(loss);
    });
    expect(inUse(on)).toBe(before);
  });
});

describe('Tape', () => {
  it('refuses a loss that is no scalar, depends on nothing, or is not on it', () => {
    using engine = exactEngine();
    engine.scope(() => {
      const a = leaf(engine, [1, 2]);
      using tape = new Tape(engine);
      expect(() => tape.backward(multiply(a, a))).toThrow(ShapeError);
      expect(() => tape.backward(sum(constant(engine, [1])))).toThrow(ShapeError);
      const loss = sum(a);
      tape.backward(loss);
      expect(() => tape.backward(loss)).toThrow(EngineError);
      expect(loss.grad).toBeUndefined();
    });
  });

  it('refuses inputs of two engines', () => {
    using engine = exactEngine();
    using other = exactEngine();
    using a = constant(engine, [1]);
    using b = constant(other, [1]);
    expect(() => add(a, b)).toThrow(EngineError);
  });
});
