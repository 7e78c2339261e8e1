/** The engines train alike, and what is padded in memory changes nothing. */

import { describe, expect, it } from 'vitest';
import { GptModel } from '../src/model/gpt.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { expectClose } from './support/closeness.ts';
import { cpuEngine, noCpuEngine } from './support/engines.ts';
import { tinyConfig } from './support/tiny-gpt.ts';
import { runTiny } from './support/tiny-run.ts';

const relative = (actual: number, expected: number): number => Math.abs(actual / expected - 1);

describe('--make-vocab-size-divisible-by', () => {
  it.each(['reference', ...(noCpuEngine ? [] : ['cpu'])])('changes no loss on the %s engine', async (device) => {
    const { losses } = await runTiny({ device, trainIters: 6, makeVocabSizeDivisibleBy: 1 });
    for (const makeVocabSizeDivisibleBy of [16, 128]) {
      const padded = await runTiny({ device, trainIters: 6, makeVocabSizeDivisibleBy });
      // a matrix library may cut a wider matrix in another way, and then sums in another order
      const tolerance = device === 'cpu' ? 1e-6 : 0;
      for (const [i, loss] of losses.entries()) {
        expect(relative(padded.losses[i] ?? 0, loss)).toBeLessThanOrEqual(tolerance);
      }
    }
  });
});

describe.skipIf(noCpuEngine)('the cpu and the reference engine', () => {
  it('draw the same initial values, to rounding', async () => {
    const [cpu, reference] = [await cpuEngine(), createReferenceEngine()].map((engine) => {
      const model = new GptModel(tinyConfig());
      model.parameters.allocate(engine);
      model.parameters.initialize(1234);
      const values = new Map(model.parameters.all.map(({ name, stored }) => [name, stored.toArray()]));
      model.parameters[Symbol.dispose]();
      engine[Symbol.dispose]();
      return values;
    });
    expect([...(cpu?.keys() ?? [])]).toEqual([...(reference?.keys() ?? [])]);
    for (const [name, values] of reference ?? []) expectClose(cpu?.get(name) ?? [], values, 1e-6, name);
  });

  it('have the same losses over ten iterations, dropout on', async () => {
    const [cpu, reference] = [
      await runTiny({ device: 'cpu', trainIters: 10 }),
      await runTiny({ device: 'reference', trainIters: 10 }),
    ];
    expect(cpu.losses).toHaveLength(10);
    // rounding differs, and AdamW divides small gradients by their own size
    for (const [i, loss] of reference.losses.entries()) expect(relative(cpu.losses[i] ?? 0, loss)).toBeLessThan(1e-4);
    expect(reference.losses.at(-1)).toBeLessThan((reference.losses[0] ?? 0) - 0.05);
  });
});
