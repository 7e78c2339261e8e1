/** Every step of the scale against Megatron-LM's `DynamicGradScaler`, worked out by hand from its rules. */

import { describe, expect, it } from 'vitest';
import { initialLossScale, type LossScaleState, type LossScaling, nextLossScale } from './loss-scale.ts';

type Row = readonly [scale: number, growthTracker: number, hysteresisTracker: number, stuck: number];
const rowOf = ({ scale, growthTracker, hysteresisTracker, stuck }: LossScaleState): Row => [
  ...([scale, growthTracker, hysteresisTracker, stuck] as const),
];

/** The state after each iteration; `!` is one that overflowed, `.` a good one. */
function walk(scaling: LossScaling, iterations: string): Row[] {
  let state = initialLossScale(scaling);
  return [...iterations].map((one) => {
    state = nextLossScale(scaling, state, one === '!');
    return rowOf(state);
  });
}

const dynamic = { kind: 'dynamic', initial: 1024, min: 1, window: 3, hysteresis: 2 } as const;

describe('the dynamic scale', () => {
  it('begins as it is told, with its hysteresis full', () => {
    expect(rowOf(initialLossScale(dynamic))).toEqual([1024, 0, 2, 0]);
  });

  it('doubles after a window of good updates in a row, counted anew after each growth and each overflow', () => {
    expect(walk(dynamic, '.......!...')).toEqual([
      [1024, 1, 2, 0],
      [1024, 2, 2, 0],
      [2048, 0, 2, 0],
      [2048, 1, 2, 0],
      [2048, 2, 2, 0],
      [4096, 0, 2, 0],
      [4096, 1, 2, 0],
      // the first overflow is forgiven, and the window begins again
      [4096, 0, 1, 0],
      [4096, 1, 1, 0],
      [4096, 2, 1, 0],
      [8192, 0, 2, 0],
    ]);
  });

  it('halves once the hysteresis is used up, then at every overflow, until it grows', () => {
    expect(walk(dynamic, '!!!.!...!!')).toEqual([
      [1024, 0, 1, 0],
      [512, 0, 0, 0],
      [256, 0, -1, 0],
      // a good update does not fill the hysteresis up
      [256, 1, -1, 0],
      [128, 0, -2, 0],
      [128, 1, -2, 0],
      [128, 2, -2, 0],
      // growth does
      [256, 0, 2, 0],
      [256, 0, 1, 0],
      [128, 0, 0, 0],
    ]);
  });

  it('never falls below its floor, also where that is no half of it, and counts overflows there', () => {
    expect(walk({ ...dynamic, initial: 10, min: 3, hysteresis: 1 }, '!!!!.!')).toEqual([
      [5, 0, 0, 0],
      [3, 0, -1, 0],
      [3, 0, -2, 1],
      [3, 0, -3, 2],
      [3, 1, -3, 0],
      [3, 0, -4, 1],
    ]);
  });

  it("reaches float16's range from Megatron's 2^32 within the overflows that its hysteresis and 16 halvings take", () => {
    const megatron = { kind: 'dynamic', initial: 2 ** 32, min: 1, window: 1000, hysteresis: 2 } as const;
    const scales = walk(megatron, '!'.repeat(17)).map(([scale]) => scale);
    expect(scales[0]).toBe(2 ** 32);
    expect(scales.slice(1)).toEqual(Array.from({ length: 16 }, (_, i) => 2 ** (31 - i)));
    const good = walk(megatron, '.'.repeat(1000));
    expect(good.at(-2)).toEqual([2 ** 32, 999, 2, 0]);
    expect(good.at(-1)).toEqual([2 ** 33, 0, 2, 0]);
  });
});

describe('a constant scale', () => {
  it('stays, and counts overflows in a row', () => {
    const scaling = { kind: 'constant', scale: 128 } as const;
    expect(walk(scaling, '.!!.!')).toEqual([
      [128, 0, 0, 0],
      [128, 0, 0, 1],
      [128, 0, 0, 2],
      [128, 0, 0, 0],
      [128, 0, 0, 1],
    ]);
  });
});
