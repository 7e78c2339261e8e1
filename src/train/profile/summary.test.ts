import { describe, expect, it } from 'vitest';
import type { Limits } from './limits.ts';
import type { RankSpans, Span } from './spans.ts';
import { idealMilliseconds, summarize } from './summary.ts';
import { profileTable, rateOf, shareOfLimit, titleOf } from './table.ts';
import { onOneClock, waitingTimes } from './waiting.ts';

/** 1 GFLOP/s, 1 GB/s: one operation or byte takes a nanosecond. */
const limits: Limits = { matrix: { f32: 1e9 }, bandwidth: 1e9 };

const kernel = (flops: number, bytes: number, dtype: 'f32' | 'bf16' = 'f32') => ({
  kernel: { flops, bytes, dtype, tensors: '' },
});
const span = (kind: Span['kind'], name: string, depth: number, begin: number, end: number, more = {}): Span => ({
  ...{ kind, name, depth, begin, end },
  ...more,
});
const forward = { direction: 'forward' } as const;

/** A step of 100 ms: an operator with another inside, a reduction, a kernel that no operator called, the optimizer. */
const step: readonly Span[] = [
  span('step', 'step 4', 0, 0, 100),
  span('phase', 'forward', 1, 5, 65),
  span('operator', 'outer', 2, 10, 50, forward),
  span('kernel', 'product', 3, 12, 22, kernel(5e6, 1e6)),
  span('operator', 'inner', 3, 25, 45, forward),
  span('kernel', 'sum', 4, 26, 42, kernel(0, 4e6)),
  span('kernel', 'loose', 2, 51, 53, kernel(0, 1e6)),
  span('collective', 'all-reduce sum', 2, 55, 65, {
    collective: { group: 'tensor group of ranks 0, 1', number: 3, bytes: 8, part: 'whole' },
  }),
  span('phase', 'optimizer', 1, 70, 90),
  span('kernel', 'adamw_step', 2, 72, 88, kernel(0, 12e6)),
  // between steps
  span('operator', 'outer', 0, 110, 150, forward),
  span('kernel', 'product', 1, 112, 140, kernel(5e6, 1e6)),
];

describe('the summary of a profile', () => {
  const summary = summarize(step, limits, () => 4);
  const byTitle = new Map(summary.rows.map((row) => [titleOf(row), row]));

  it('counts every moment of the step once', () => {
    expect(Object.fromEntries(summary.rows.map((row) => [titleOf(row), row.ms]))).toEqual({
      'outer forward': 20, // 40 without the 20 of the operator inside
      'inner forward': 20,
      optimizer: 20,
      'all-reduce, tensor group': 10,
      'loose forward': 2,
    });
    expect(summary).toMatchObject({ steps: 1, stepMs: 100, kernelMs: 44, outsideMs: 28 });
  });

  it('holds each operator against the limit of what its kernels do', () => {
    expect(byTitle.get('outer forward')).toMatchObject({ flops: 5e6, bytes: 1e6, idealMs: 5, kernelMs: 10, calls: 1 });
    expect(shareOfLimit(byTitle.get('outer forward') ?? fail())).toBeCloseTo(0.25, 12);
    expect(shareOfLimit(byTitle.get('inner forward') ?? fail())).toBeCloseTo(0.2, 12);
    expect(rateOf(byTitle.get('outer forward') ?? fail())).toEqual({ perSecond: 2.5e8, unit: 'FLOP' });
    expect(rateOf(byTitle.get('optimizer') ?? fail())).toEqual({ perSecond: 6e8, unit: 'B' });
  });

  it('gives a product too small for its arithmetic to count the time of its memory', () => {
    expect(idealMilliseconds({ flops: 1e6, bytes: 3e6, dtype: 'f32' }, limits)).toBeCloseTo(3, 12);
    expect(idealMilliseconds({ flops: 1e6, bytes: 3e6, dtype: 'bf16' }, limits)).toBeUndefined();
  });

  it('tells waiting from moving', () => {
    const row = byTitle.get('all-reduce, tensor group') ?? fail();
    expect(row.waitingMs).toBe(4);
    expect(rateOf(row)?.perSecond).toBeCloseTo(8 / 0.006, 6);
  });

  it('fits a terminal', () => {
    const table = profileTable(summary, limits);
    expect(Math.max(...table.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(table.join('\n')).toMatch(/^outer forward +20\.00 +20\.0 % +1 +0\.3 GFLOP\/s +25\.0 %$/m);
    expect(table.join('\n')).toMatch(/^in no operator +28\.00 +28\.0 %$/m);
    expect(table.at(-1)).toBe('in kernels 44.0 %, in collectives 10.0 % (waiting for other ranks 4.0 %)');
  });
});

describe('clocks', () => {
  const rank = (host: string, begun: number): RankSpans => ({
    ...{ rank: 0, label: '', host, begun, spans: [span('step', 'step 1', 0, begun + 5, begun + 8)] },
  });

  it('of other hosts are set by the barrier before the first step, those of one host are the same', () => {
    const spans = onOneClock([rank('a', 100), rank('a', 101), rank('b', 7000)]).map((one) => one.spans[0]);
    expect(spans.map((one) => [one?.begin, one?.end])).toEqual([
      [105, 108],
      [106, 109],
      [105, 108],
    ]);
  });
});

describe('waiting in collectives', () => {
  const call = (begin: number, end: number, part: 'whole' | 'start' | 'finish' = 'whole', number = 1): Span =>
    span('collective', 'all-reduce sum', 0, begin, end, { collective: { group: 'g', number, bytes: 4, part } });

  it('lasts until the last rank of the group has come', () => {
    const [early, late, other] = [call(10, 30), call(22, 30), call(11, 12, 'whole', 2)];
    const waitingOf = waitingTimes([[early, other], [late]]);
    expect([early, late, other].map(waitingOf)).toEqual([12, 0, 0]);
  });

  it('of a reduction begun earlier counts from where its end is asked for', () => {
    const mine = [call(10, 11, 'start'), call(20, 40, 'finish')] as const;
    const theirs = [call(35, 36, 'start'), call(36, 40, 'finish')] as const;
    const waitingOf = waitingTimes([mine, theirs]);
    expect(mine.map(waitingOf)).toEqual([0, 15]);
    expect(theirs.map(waitingOf)).toEqual([0, 0]);
  });

  it('is unknown between two ranks alone', () => {
    const send = span('collective', 'send', 0, 0, 5, {
      collective: { group: 'g', number: undefined, bytes: 4, part: 'whole' },
    });
    expect(waitingTimes([[send]])(send)).toBeUndefined();
  });
});

function fail(): never {
  throw new Error('a row is missing');
}
