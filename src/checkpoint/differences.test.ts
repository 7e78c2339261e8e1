/** Contradictions between a saved and an asked-for record. */

import { expect, test } from 'vitest';
import { describeDifferences } from './differences.ts';

test('differences are told in the words of the command line', () => {
  const saved = {
    numLayers: 12,
    hiddenSize: 768,
    rope: { theta: 1e4, scaled: false },
    kinds: ['a', { b: 1 }],
    old: null,
  };
  expect(describeDifferences(saved, structuredClone(saved))).toEqual([]);
  expect(
    describeDifferences(saved, {
      numLayers: 12,
      hiddenSize: 512,
      rope: { theta: 1e5, scaled: false },
      kinds: ['a', { b: 2 }],
      activation: 'gelu',
    }),
  ).toEqual([
    'hidden-size: checkpoint 768, command line 512',
    'rope.theta: checkpoint 10000, command line 100000',
    'kinds: checkpoint ["a",{"b":1}], command line ["a",{"b":2}]',
    'old: checkpoint null, command line not set',
    'activation: checkpoint not set, command line gelu',
  ]);
});
