/** What attention on a GPU adds to attention.test.ts: which kernels a problem gets, and tiles of every width. */

import { describe, expect, it } from 'vitest';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import { evaluate, expectHalvesAgree, type OperatorCase } from '../../../test/support/operator.ts';
import { EngineError } from '../../base/errors.ts';
import { type DType, halfTypes } from '../../tensor/dtype.ts';
import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { attentionBackwardPlan, attentionForwardPlan } from './cuda.ts';
import { attention } from './op.ts';
import { argumentsOf } from './problem.ts';

const hopper: CudaDevice = {
  ...{ multiprocessors: 132, architecture: 90, sharedBytesPerBlock: 227 * 1024, attention: 'wgmma' },
};
const byWarps: CudaDevice = { ...hopper, attention: 'mma' };

interface Sizes {
  readonly width: number;
  readonly queries?: number;
  readonly dtype?: DType;
}

/** The functions and grids of both passes for 3 samples of 5 heads. */
function launchesOf({ width, queries = 1024, dtype = 'bf16' }: Sizes, device = hopper): string[] {
  using engine = exactEngine();
  using x = Tensor.zeros(engine, [1], { dtype });
  using statistics = Tensor.zeros(engine, [1]);
  const strides = { batch: 15 * width * queries, row: 15 * width, head: 3 * width };
  const problem = argumentsOf({
    ...{ batch: 3, heads: 5, queries, keys: queries, offset: 0, width, query: strides, key: strides, scale: 1 },
    ...{ causal: true, probability: 0, seed: 0, site: 0, firstSample: 0, sequence: queries, headOffset: 0 },
  });
  const describeStep = (step: CudaStep): string => {
    if (!('function' in step)) throw new Error('attention is launches alone');
    expect(step.sharedBytes ?? 0).toBeLessThanOrEqual(device.sharedBytesPerBlock);
    return `${step.function} ${step.grid.join('×')}`;
  };
  return [
    ...attentionForwardPlan(device, x, x, x, x, statistics, undefined, ...problem),
    ...attentionBackwardPlan(device, x, x, x, x, statistics, undefined, x, x, x, x, 0, ...problem),
  ].map(describeStep);
}

describe('the plan of attention on a GPU', () => {
  it.each([
    [8, 64],
    [64, 64],
    [80, 96],
    [96, 96],
    [97, 128],
    [128, 128],
  ])('16-bit heads of %i channels go through tiles of %i', (width, padded) => {
    expect(launchesOf({ width, queries: 1000 }, byWarps)).toEqual([
      `attention_forward_${padded} 8×15`,
      expect.stringMatching(/^attention_delta /),
      `attention_query_gradient_${padded} 8×15`,
      `attention_key_gradients_${padded} 16×15`,
    ]);
  });

  it.each([
    [8, 64, [8, 8, 6]],
    [80, 96, [8, 6, 8]],
    [128, 128, [6, 6, 8]],
  ])('on Hopper 16-bit heads of %i channels go through tiles of %i of warpgroups', (width, padded, blocks) => {
    expect(launchesOf({ width, queries: 1000 })).toEqual([
      `attention_forward_wgmma_${padded} ${blocks[0]}×15`,
      expect.stringMatching(/^attention_delta /),
      `attention_query_gradient_wgmma_${padded} ${blocks[1]}×15`,
      `attention_key_gradients_wgmma_${padded} ${blocks[2]}×15`,
    ]);
  });

  const plain = (queries: number): unknown[] => [
    `attention_forward_plain ${queries}×15`,
    expect.stringMatching(/^attention_delta /),
    `attention_query_gradient_plain ${queries}×15`,
    `attention_key_gradients_plain ${queries}×15`,
  ];
  it.each<[string, Sizes, CudaDevice]>([
    ['float32', { width: 64, dtype: 'f32' }, hopper],
    ['single queries', { width: 64, queries: 1 }, hopper],
    ['wide heads', { width: 160 }, hopper],
    ['a GPU without tensor cores for them', { width: 64 }, { ...byWarps, architecture: 75 }],
    ['a GPU with little shared memory', { width: 128 }, { ...hopper, sharedBytesPerBlock: 99 * 1024 }],
  ])('%s go through the plain kernels', (_, sizes, device) => {
    expect(launchesOf(sizes, device)).toEqual(plain(sizes.queries ?? 1024));
  });

  it('refuses heads that no kernel takes', () => {
    expect(() => launchesOf({ width: 257 })).toThrow(EngineError);
  });
});

const fused = (sequence: number, width: number, options: object): OperatorCase<'qkv'> => ({
  inputs: { qkv: { shape: [1, sequence, 6 * width], key: 7 } },
  apply: ({ qkv }) => attention(qkv, { heads: 2, ...options }),
});

describeOnEngines(
  'attention in tiles',
  (engine) => {
    const dropout = { probability: 0.2, seed: 5, site: 3, firstSample: 9 };
    // 139 queries are two blocks of 128 and three of 64 keys, the last of each almost empty; 400 several tiles for each.
    it.each([
      ['64', 139, 64, {}],
      ['96 with dropout', 139, 96, { dropout }],
      ['128 with dropout', 139, 128, { dropout }],
      ['128, not causal', 139, 128, { causal: false }],
      ['100 of 128, where rows are no multiple of 16 bytes', 139, 100, { dropout }],
      ['64 of many tiles', 400, 64, { dropout }],
      ['88 of many tiles', 400, 88, {}],
      ['128 of many tiles', 400, 128, {}],
    ])('agrees with float64 at head width %s', (_, sequence, width, options) => {
      expectHalvesAgree(engine(), fused(sequence, width, options));
    });

    it.each(halfTypes)('gives the same bits on every run in %s', (dtype) => {
      const test = fused(139, 64, { dropout });
      expect(evaluate(engine(), test, { halves: { dtype } })).toEqual(evaluate(engine(), test, { halves: { dtype } }));
    });
  },
  { hosts: false, attention: true },
);
