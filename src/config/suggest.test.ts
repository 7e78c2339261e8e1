import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, nearestName, suggestName } from './suggest.ts';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['ab', 'ba', 1],
    ['num-layers', 'num-layer', 1],
    ['abcdef', 'azced', 3],
  ])('of "%s" and "%s" is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
  });

  it('is symmetric, zero for equals alone, and at most the longer length', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});

describe('suggestName', () => {
  it('takes the nearest, and nothing that is far', () => {
    expect(nearestName('hiden-size', ['seq-length', 'hidden-size'])).toBe('hidden-size');
    expect(nearestName('zzz', ['seq-length', 'hidden-size'])).toBeUndefined();
    expect(nearestName('lr', [])).toBeUndefined();
  });

  it("knows Megatron's former names, where the command has the new one", () => {
    expect(suggestName('batch-size', ['micro-batch-size', 'global-batch-size'])).toBe('micro-batch-size');
    expect(suggestName('out_seq_length', ['tokens-to-generate'])).toBe('tokens-to-generate');
    expect(suggestName('batch-size', ['lr'])).toBeUndefined();
  });
});
