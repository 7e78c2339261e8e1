import { expect, it } from 'vitest';
import { expectClose } from '../../../test/support/closeness.ts';
import { describeOnEngines } from '../../../test/support/engines.ts';
import { numbers } from '../../../test/support/numbers.ts';
import { ShapeError } from '../../base/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { attention, attentionWithCache } from './op.ts';

const [batch, heads, sequence, capacity] = [2, 3, 120, 125];

/** Rows [begin, end) of the positions of a [batch, sequence, channels] array. */
function positions(values: readonly number[], channels: number, begin: number, end: number): number[] {
  return Array.from({ length: batch }, (_, b) =>
    values.slice((b * sequence + begin) * channels, (b * sequence + end) * channels),
  ).flat();
}

describeOnEngines(
  'attentionWithCache',
  (engine) => {
    // The same sums in another order, with scores up to about 10; 16-bit types round outputs and maybe probabilities.
    it.each<[number, DType, number]>([
      [5, 'f32', 5e-6],
      [16, 'f32', 5e-6],
      [64, 'f32', 5e-6],
      [5, 'bf16', 2 ** -7],
      [64, 'bf16', 2 ** -7],
      [16, 'f16', 2 ** -10],
    ])('gives in pieces what attention gives at once, d %i %s', (width, dtype, tolerance) => {
      const owner = engine();
      const channels = 3 * heads * width;
      const values = numbers({ shape: [batch, sequence, channels], key: 3, scale: 2 });
      const starts = Array.from({ length: batch * sequence }, (_, i) => (i % sequence >= 50 ? 50 : 0));
      owner.scope(() => {
        const qkv = Tensor.from(owner, values, [batch, sequence, channels], { dtype });
        const allFirst = Tensor.from(owner, starts, [batch, sequence], { dtype: 'i32' });
        const expected = attention(qkv, { heads, firstKey: allFirst }).toArray();
        const cache = {
          keys: Tensor.empty(owner, [batch, capacity, heads, width], { dtype }),
          values: Tensor.empty(owner, [batch, capacity, heads, width], { dtype }),
        };
        let position = 0;
        for (const count of [40, 1, 1, 2, 5, 1, 8, 30, 3, 1, 28]) {
          const piece = positions(values, channels, position, position + count);
          const firstKey = Tensor.from(owner, positions(starts, 1, position, position + count), [batch, count], {
            dtype: 'i32',
          });
          const input = Tensor.from(owner, piece, [batch, count, channels], { dtype });
          const out = attentionWithCache(input, cache, { heads, position, firstKey });
          const part = positions(expected, heads * width, position, position + count);
          expect(out.dtype).toBe(qkv.dtype);
          expectClose(out.toArray(), part, tolerance, `positions from ${position}`);
          position += count;
        }
        expect(position).toBe(sequence);
      });
    });

    it('refuses a cache that is full or of another shape', () => {
      const owner = engine();
      owner.scope(() => {
        const qkv = Tensor.zeros(owner, [1, 3, 12]);
        const cacheOf = (shape: readonly number[]): { keys: Tensor; values: Tensor } => ({
          keys: Tensor.zeros(owner, shape),
          values: Tensor.zeros(owner, shape),
        });
        expect(() => attentionWithCache(qkv, cacheOf([1, 8, 2, 2]), { heads: 2, position: 6 })).toThrow(ShapeError);
        expect(() => attentionWithCache(qkv, cacheOf([1, 8, 2, 2]), { heads: 2, position: -1 })).toThrow(ShapeError);
        expect(() => attentionWithCache(qkv, cacheOf([1, 8, 1, 4]), { heads: 2, position: 0 })).toThrow(ShapeError);
        expect(() => attentionWithCache(qkv, cacheOf([2, 8, 2, 2]), { heads: 2, position: 0 })).toThrow(ShapeError);
      });
    });
  },
  { attention: true },
);
