import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../test/support/engines.ts';
import { integers, numbers } from '../../test/support/numbers.ts';
import { EngineError } from '../base/errors.ts';
import { add } from '../ops/add/op.ts';
import { attention } from '../ops/attention/op.ts';
import { crossEntropy } from '../ops/cross-entropy/op.ts';
import { biasDropoutAdd, dropout } from '../ops/dropout/op.ts';
import { gelu } from '../ops/gelu/op.ts';
import { layerNorm } from '../ops/layer-norm/op.ts';
import { biasGelu, linear } from '../ops/linear/op.ts';
import { multiply } from '../ops/multiply/op.ts';
import { weightedSum } from '../ops/weighted-sum/op.ts';
import type { Engine } from '../tensor/engine.ts';
import { Tensor } from '../tensor/tensor.ts';
import { recompute } from './recompute.ts';
import { runOperator } from './record.ts';
import { Tape } from './tape.ts';

const leafNames = ['x', 'gamma', 'beta', 'qkv', 'projection', 'bias', 'wide', 'wideBias', 'narrow'] as const;
type Leaves = Record<(typeof leafNames)[number], Tensor>;
const [b, s, h] = [2, 5, 8];
const shapes: Record<keyof Leaves, readonly number[]> = {
  ...{ x: [b, s, h], gamma: [h], beta: [h], qkv: [3 * h, h], projection: [h, h], bias: [h] },
  ...{ wide: [4 * h, h], wideBias: [4 * h], narrow: [h, 4 * h] },
};

type Run = (name: string, kept: readonly (Tensor | undefined)[], body: () => Tensor) => Tensor;
const plainly: Run = (_name, _kept, body) => body();

const at = (site: number) => ({ probability: 0.3, seed: 7, site, firstSample: 3 });

/** A transformer layer with dropout everywhere, whose halves share their layer norm: leaves have several uses. */
function halves(leaves: Leaves, x: Tensor, firstKey: Tensor): readonly [() => Tensor, (middle: Tensor) => Tensor] {
  const { gamma, beta, bias } = leaves;
  return [
    () => {
      using normed = layerNorm(x, gamma, beta);
      using mixed = linear(normed, leaves.qkv);
      using context = attention(mixed, { heads: 2, firstKey, dropout: at(1) });
      using projected = linear(context, leaves.projection);
      return biasDropoutAdd(projected, bias, x, at(2));
    },
    (middle) => {
      using normed = layerNorm(middle, gamma, beta);
      using wide = linear(normed, leaves.wide);
      using active = biasGelu(wide, leaves.wideBias);
      using narrow = linear(active, leaves.narrow);
      return biasDropoutAdd(narrow, bias, middle, at(3));
    },
  ];
}

interface Found {
  readonly loss: number;
  readonly gradients: readonly number[][];
  /** Leaves in the order in which their gradients were complete. */
  readonly completed: readonly string[];
}

/** Two layers, the second on the first's output, under a cross-entropy; each half run by `run`. */
function train(engine: Engine, run: Run, existing: boolean, whole: Run = plainly): Found {
  const before = engine.memory.count().current;
  const found = engine.scope(() => {
    const leaves = Object.fromEntries(
      leafNames.map((name, i) => {
        const leaf = Tensor.from(engine, numbers({ shape: shapes[name], key: 60 + i }), shapes[name], {
          requiresGrad: true,
        });
        if (existing) leaf.grad = Tensor.from(engine, numbers({ shape: shapes[name], key: 90 + i }), shapes[name]);
        return [name, leaf];
      }),
    ) as unknown as Leaves;
    const completed: string[] = [];
    using tape = new Tape(engine);
    const layer = (x: Tensor): Tensor => {
      // dies before backward, as a batch's tensors do
      using firstKey = Tensor.from(engine, [0, 0, 0, 3, 3, 0, 1, 1, 1, 1], [b, s], { dtype: 'i32' });
      return whole('layer', [x, firstKey], () => {
        const [attend, feed] = halves(leaves, x, firstKey);
        using middle = run('attention', [x, firstKey], attend);
        return run('mlp', [middle], () => feed(middle));
      });
    };
    using embedded = dropout(leaves.x, at(0));
    using first = layer(embedded);
    using second = layer(first);
    using labels = Tensor.from(engine, integers(b * s, 5, h), [b, s], { dtype: 'i32' });
    using logits = linear(second, leaves.projection); // tied: used inside and outside
    using losses = crossEntropy(logits, labels);
    const loss = weightedSum(losses, Tensor.from(engine, new Array<number>(b * s).fill(1), [b, s]));
    tape.backward(loss, 0.5, (leaf) => completed.push(leafNames.find((name) => leaves[name] === leaf) ?? '?'));
    expect(engine.recorder).toBe(tape);
    return {
      ...{ loss: loss.item(), completed },
      gradients: leafNames.map((name) => leaves[name].grad?.toArray() ?? []),
    };
  });
  expect(engine.memory.count().current, 'bytes still in use').toBe(before);
  return found;
}

describeOnEngines(
  'recompute',
  (engine) => {
    const modes: Record<string, readonly [Run, Run]> = {
      'halves of layers': [recompute, plainly],
      'whole layers': [plainly, recompute],
      'halves inside layers': [recompute, recompute],
    };

    describe.each(Object.keys(modes))('%s', (name) => {
      const [half, whole] = modes[name] as readonly [Run, Run];

      it.each([false, true])('gives the same bits, dropout on, gradients there before: %s', (existing) => {
        const kept = train(engine(), plainly, existing);
        const again = train(engine(), half, existing, whole);
        expect(again.loss).toBe(kept.loss);
        expect(kept.gradients.flat().filter((value) => Number.isFinite(value) && value !== 0).length).toBeGreaterThan(
          500,
        );
        expect(again.gradients).toEqual(kept.gradients);
      });

      it('reports every leaf once, as soon as its last use is done', () => {
        const kept = train(engine(), plainly, true);
        expect(kept.completed.toSorted()).toEqual(leafNames.toSorted());
        expect(train(engine(), half, true, whole).completed).toEqual(kept.completed);
      });
    });

    it('computes nothing again that no backward pass reads', () => {
      const on = engine();
      const calls: string[] = [];
      const noted = (name: string, x: Tensor, saveOutput = false): Tensor =>
        runOperator({
          ...{ name, inputs: [x], shape: x.shape, saveOutput },
          forward: (y) => {
            calls.push(name);
            y.copyFrom(x);
          },
          backward: (dy, gradients) => gradients.pass(x, dy),
        });
      on.scope(() => {
        const leaf = Tensor.from(on, [1, 2], [2], { requiresGrad: true });
        using tape = new Tape(on);
        const y = recompute('segment', [leaf], () => noted('d', noted('c', noted('b', noted('a', leaf), true))));
        const loss = weightedSum(y, Tensor.from(on, [1, 1], [2]));
        expect(calls).toEqual(['a', 'b', 'c', 'd']);
        tape.backward(loss);
        expect(calls).toEqual(['a', 'b', 'c', 'd', 'a', 'b']);
        expect(leaf.grad?.toArray()).toEqual([1, 1]);
      });
    });

    it('keeps only what it starts from', () => {
      const on = engine();
      const size = 4096; // bytes that the allocator does not round
      on.scope(() => {
        const leaf = Tensor.zeros(on, [size / (on.floatType === 'f64' ? 8 : 4)], {
          requiresGrad: true,
          kind: 'parameters',
        });
        using tape = new Tape(on);
        using start = add(leaf, leaf);
        using end = recompute('segment', [start], () => {
          using a = gelu(start);
          using square = multiply(a, a);
          return gelu(square);
        });
        expect(on.memory.count('activations').current).toBe(2 * size);
        tape.backward(weightedSum(end, leaf));
        expect(on.memory.count('activations').current).toBe(3 * size + 512); // start, end, the gradient; the loss
      });
    });

    it('skips a segment whose output nothing used, and frees what it kept', () => {
      const on = engine();
      on.scope(() => {
        const leaf = Tensor.from(on, [1, 2], [2], { requiresGrad: true });
        const completed: Tensor[] = [];
        leaf.grad = Tensor.zeros(on, [2]);
        using tape = new Tape(on);
        on.scope(() => void recompute('unused', [leaf], () => gelu(multiply(leaf, leaf))));
        tape.backward(weightedSum(leaf, Tensor.from(on, [1, 1], [2])), 1, (done) => completed.push(done));
        expect(leaf.grad.toArray()).toEqual([1, 1]);
        expect(completed).toEqual([leaf]);
      });
    });

    it('just runs where nothing records or asks for a gradient', () => {
      const on = engine();
      on.scope(() => {
        const x = Tensor.from(on, [3], [1]);
        const run = (): Tensor => recompute('square', [x], () => multiply(x, x));
        expect(run().item()).toBe(9);
        using tape = new Tape(on);
        const y = run();
        expect([y.item(), y.requiresGrad]).toEqual([9, false]);
        expect(recompute('nothing', [x], () => x)).toBe(x);
        expect(() => tape.backward(y)).toThrow('does not depend');
      });
    });
  },
  { emulated: false },
);

describe('a second run that fails', () => {
  const failing = (second: (x: Tensor) => Tensor) => {
    using engine = exactEngine();
    const before = engine.memory.count().current;
    engine.scope(() => {
      const leaf = Tensor.from(engine, [1, 2], [2], { requiresGrad: true });
      let runs = 0;
      using tape = new Tape(engine);
      const y = recompute('odd', [leaf], () => (++runs === 1 ? gelu(gelu(leaf)) : second(leaf)));
      const loss = weightedSum(y, Tensor.from(engine, [1, 1], [2]));
      expect(() => tape.backward(loss)).toThrow(EngineError);
      expect(engine.recorder).toBe(tape);
    });
    expect(engine.recorder).toBeUndefined();
    expect(engine.memory.count().current).toBe(before);
  };

  it('because it is another than the first is an error', () => failing((leaf) => gelu(leaf)));

  it('leaves nothing behind', () =>
    failing((leaf) => {
      gelu(leaf);
      throw new EngineError('no more');
    }));

  it('needs something to run again from', () => {
    expect(() => recompute('nothing', [undefined], () => expect.fail())).toThrow(EngineError);
  });
});
