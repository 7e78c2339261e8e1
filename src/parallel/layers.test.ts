/** f, g and the split linear layers against their serial forms. The comparisons and 1e-6 are Megatron v1's (mpu/tests). */

import { describe, expect, it } from 'vitest';
import { describeComparisons, type Tolerances } from '../../test/support/comparisons.ts';
import { UsageError } from '../base/errors.ts';
import type { Communicator } from '../comm/communicator.ts';
import { selfCommunicator } from '../comm/self.ts';
import { ColumnParallelLinear, RowParallelLinear, shareOf } from './layers.ts';
import { Parameters } from './parameters.ts';

/** Products of at most 60 terms in float32 against double precision, relative to the largest number. */
const linear = (name: string, ...parts: string[]): Tolerances =>
  Object.fromEntries(parts.map((part) => [`${name}: ${part}`, 1e-6]));

describe('layers over ranks', () => {
  describeComparisons(new URL('../../test/support/ranks/layers.rank.ts', import.meta.url), {
    'f: forward': 0,
    'f: collectives forward': 0,
    // sums run over the ranks in their order, so even these are known to the bit
    'f: backward': 0,
    'f: collectives backward': 0,
    'f: backward of a shared gradient': 0,
    'f: the gradient it shares': 0,
    'g: forward': 0,
    'g: collectives forward': 0,
    'g: backward': 0,
    'g: collectives backward': 0,
    ...linear('column-parallel linear', 'output', 'loss', 'dX', 'dW', 'db'),
    ...linear('column-parallel gelu', 'output', 'loss', 'dX', 'dW', 'db'),
    ...linear('row-parallel linear with its bias', 'output', 'loss', 'dX', 'dW', 'db'),
    ...linear('row-parallel linear without bias', 'output', 'loss', 'dX', 'dW'),
    'initial weights, column-parallel': 0,
    'initial weights, row-parallel': 0,
    'initial biases': 0,
  });
});

describe('sizes that cannot be split', () => {
  /** Enough of a group for a constructor, which talks to nobody. */
  const group = (size: number): Communicator => ({ ...selfCommunicator(), size });
  const size = { inputs: 10, outputs: 14, deviation: 1 };

  it.each([
    [14, 4, '12 or 16'],
    [3, 4, '4'],
    [9, 2, '8 or 10'],
  ])('%d over %d ranks names the nearest: %s', (count, ranks, nearest) => {
    const split = (): number => shareOf(count, group(ranks), '--num-attention-heads');
    expect(split).toThrow(UsageError);
    expect(split).toThrow(`--num-attention-heads ${count} cannot be split over ${ranks} tensor-parallel ranks`);
    expect(split).toThrow(expect.objectContaining({ remedy: expect.stringContaining(`that can: ${nearest}.`) }));
  });

  it('are refused by the layers, which name themselves', () => {
    expect(() => new ColumnParallelLinear(new Parameters(), 'mlp.fc1', size, group(4))).toThrow(
      'the output size of mlp.fc1, 14 cannot be split',
    );
    expect(() => new RowParallelLinear(new Parameters(), 'mlp.fc2', size, group(4))).toThrow(
      'the input size of mlp.fc2, 10 cannot be split',
    );
  });
});
