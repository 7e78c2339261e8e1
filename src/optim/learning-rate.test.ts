import { describe, expect, it } from 'vitest';
import { type LearningRateSchedule, learningRateAt } from './learning-rate.ts';

/** Peak 1, floor 0.1, ten iterations of warm-up, decay until 110. */
const base: LearningRateSchedule = { lr: 1, minLr: 0.1, lrDecayStyle: 'linear', lrDecayIters: 110, lrWarmupIters: 10 };

function expectRates(schedule: Partial<LearningRateSchedule>, expected: Readonly<Record<number, number>>): void {
  for (const [iteration, rate] of Object.entries(expected)) {
    expect(learningRateAt({ ...base, ...schedule }, Number(iteration)), `iteration ${iteration}`).toBeCloseTo(rate, 12);
  }
}

describe('warm-up', () => {
  it('rises in a line to the peak, in every style', () => {
    for (const lrDecayStyle of ['constant', 'linear', 'cosine', 'inverse-square-root', 'WSD'] as const) {
      expectRates({ lrDecayStyle, lrWsdDecayIters: 20 }, { 1: 0.1, 2: 0.2, 5: 0.5, 10: 1 });
    }
  });

  it('may be left out: the first update has nearly the whole rate', () => {
    expectRates({ lrWarmupIters: 0, lrDecayIters: 100 }, { 1: 0.1 + 0.99 * 0.9, 50: 0.55, 100: 0.1 });
    expectRates({ lrWarmupIters: 0, lrDecayStyle: 'constant' }, { 1: 1, 1000: 1 });
  });
});

// Megatron: minLr + coefficient·(lr − minLr), the coefficient a function of r = (iteration − warmup)/(decay − warmup)
describe('decay', () => {
  it('constant stays, also beyond the decay', () =>
    expectRates({ lrDecayStyle: 'constant' }, { 11: 1, 110: 1, 999: 1 }));

  it('linear: 1 − r', () => {
    expectRates({}, { 11: 0.1 + 0.99 * 0.9, 35: 0.1 + 0.75 * 0.9, 60: 0.55, 110: 0.1, 111: 0.1, 999: 0.1 });
  });

  it('cosine: (1 + cos πr)/2', () => {
    const half = Math.SQRT1_2 / 2;
    expectRates(
      { lrDecayStyle: 'cosine' },
      { 35: 0.1 + (0.5 + half) * 0.9, 60: 0.55, 85: 0.1 + (0.5 - half) * 0.9, 110: 0.1, 111: 0.1 },
    );
  });

  it('inverse-square-root: √warmup/√iteration, not below the floor', () => {
    const style = { lrDecayStyle: 'inverse-square-root' } as const;
    expectRates(style, { 40: 0.5, 90: 1 / 3, 110: Math.sqrt(10 / 110), 111: 0.1 });
    expectRates({ ...style, minLr: 0.4 }, { 40: 0.5, 90: 0.4 });
    expectRates({ ...style, lrWarmupIters: 0 }, { 1: 1, 4: 0.5, 100: 0.1 });
  });
});

describe('WSD', () => {
  const schedule = { lrDecayStyle: 'WSD', lrWsdDecayIters: 20 } as const; // decays from 90 to 110

  it('is stable until its last phase', () => expectRates(schedule, { 11: 1, 50: 1, 90: 1, 110: 0.1, 111: 0.1 }));

  it.each([
    ['linear', 0.5, 0.25],
    ['cosine', 0.5, (1 + Math.cos(0.75 * Math.PI)) / 2],
    ['exponential', 2 * Math.SQRT1_2 - 1, 2 * 0.5 ** 0.75 - 1],
    ['minus_sqrt', 1 - Math.SQRT1_2, 1 - Math.sqrt(0.75)],
  ] as const)('falls by %s', (lrWsdDecayStyle, half, threeQuarters) => {
    expectRates({ ...schedule, lrWsdDecayStyle }, { 100: 0.1 + half * 0.9, 105: 0.1 + threeQuarters * 0.9, 110: 0.1 });
  });

  it('is exponential where no form is named', () => expectRates(schedule, { 100: 0.1 + (Math.SQRT2 - 1) * 0.9 }));
});
