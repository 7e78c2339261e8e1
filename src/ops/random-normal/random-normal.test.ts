import { describe, expect, it } from 'vitest';
import { differenceOf, expectClose, expectSame } from '../../../test/support/closeness.ts';
import { describeOnEngines, exactEngine } from '../../../test/support/engines.ts';
import type { Engine } from '../../tensor/engine.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { randomNormal } from './kernels.ts';

interface Slice {
  readonly rows: number;
  readonly width: number;
  readonly globalWidth?: number;
  readonly firstRow?: number;
  readonly firstColumn?: number;
  readonly seed?: number;
  readonly stream?: number;
}

function draw(engine: Engine, slice: Slice): number[] {
  const { rows, width, globalWidth = width, firstRow = 0, firstColumn = 0, seed = 1234, stream = 9 } = slice;
  using x = Tensor.empty(engine, [rows, width]);
  randomNormal(engine, x, rows, width, globalWidth, firstRow, firstColumn, 0.5, seed, stream);
  return x.toArray();
}

describe('randomNormal', () => {
  it('is Box–Muller on Philox’s words', () => {
    // counter 0, key 0: words 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (Random123's known answers)
    const normal = (a: number, b: number) => {
      const radius = Math.sqrt(-2 * Math.log((a + 0.5) / 2 ** 32));
      const angle = (2 * Math.PI * (b + 0.5)) / 2 ** 32;
      return [0.5 * radius * Math.cos(angle), 0.5 * radius * Math.sin(angle)];
    };
    using engine = exactEngine();
    const expected = [...normal(0x6627e8d5, 0xe169c58d), ...normal(0xbc57ac4c, 0x9b00dbd8)];
    expectClose(draw(engine, { rows: 1, width: 4, seed: 0, stream: 0 }), expected, 1e-15);
  });
});

describeOnEngines('randomNormal', (engine) => {
  it('agrees with float64', () => {
    using exact = exactEngine();
    const slice = { rows: 65, width: 257 };
    // computed in double, rounded once
    expectClose(draw(engine(), slice), draw(exact, slice), 6e-8);
  });

  it('gives every slice the numbers it has in the whole', () => {
    const [rows, width] = [13, 21];
    const whole = draw(engine(), { rows, width });
    for (const [firstRow, firstColumn, height, breadth] of [
      [0, 0, 13, 7],
      [3, 5, 1, 1],
      [4, 0, 9, 21],
      [12, 20, 1, 1],
      [5, 13, 6, 8],
    ] as const) {
      const slice = draw(engine(), { rows: height, width: breadth, globalWidth: width, firstRow, firstColumn });
      const expected = Array.from({ length: height * breadth }, (_, i) => {
        const row = firstRow + Math.floor(i / breadth);
        return whole[row * width + firstColumn + (i % breadth)] ?? Number.NaN;
      });
      expectSame(slice, expected, `rows from ${firstRow}, columns from ${firstColumn}`);
    }
  });

  it('reaches elements beyond 2³² blocks', () => {
    const far = draw(engine(), { rows: 1, width: 8, globalWidth: 2 ** 34, firstRow: 1 });
    expect(differenceOf(far, draw(engine(), { rows: 1, width: 8 })).relative).toBeGreaterThan(0.1);
    using exact = exactEngine();
    expectClose(far, draw(exact, { rows: 1, width: 8, globalWidth: 2 ** 34, firstRow: 1 }), 6e-8);
  });

  it('has the moments of a normal distribution', () => {
    const count = 100_000;
    const z = draw(engine(), { rows: 100, width: 1000 }).map((value) => value / 0.5);
    const moment = (power: number) => z.reduce((sum, value) => sum + value ** power, 0) / count;
    const root = Math.sqrt(count);
    // four standard deviations of each estimate: Var zᵏ = 1, 2, 15, 96
    expect(Math.abs(moment(1))).toBeLessThan(4 / root);
    expect(Math.abs(moment(2) - 1)).toBeLessThan((4 * Math.sqrt(2)) / root);
    expect(Math.abs(moment(3))).toBeLessThan((4 * Math.sqrt(15)) / root);
    expect(Math.abs(moment(4) - 3)).toBeLessThan((4 * Math.sqrt(96)) / root);
    const beyondTwo = z.filter((value) => Math.abs(value) > 2).length / count;
    expect(Math.abs(beyondTwo - 0.0455)).toBeLessThan(4 * Math.sqrt(0.0455 / count));
  });

  it('gives other seeds and streams other numbers', () => {
    const all = [{}, { seed: 1235 }, { stream: 10 }].map((change) =>
      draw(engine(), { rows: 1, width: 1000, ...change }),
    );
    for (const [i, a] of all.entries()) {
      for (const b of all.slice(i + 1)) {
        const correlation = a.reduce((sum, value, at) => sum + (value / 0.5) * ((b[at] ?? 0) / 0.5), 0) / 1000;
        expect(Math.abs(correlation)).toBeLessThan(4 / Math.sqrt(1000));
      }
    }
  });
});
