/** Training in bf16 and fp16 on one rank: as close to float32 as the formats allow, overflows skipped, resumed bit for bit. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../src/checkpoint/index.ts';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { readMetrics } from '../src/train/report/metrics-file.ts';
import { DivergenceError } from '../src/train/step.ts';
import { type RunOptions, runTiny } from './support/tiny-run.ts';

const larger = { hiddenSize: 32, numAttentionHeads: 4, lr: 0.003 };

describe.each([
  ['cpu', 50],
  ['reference', 12],
])('on %s, %d iterations', (device, trainIters) => {
  // bf16 keeps 8 bits of a number and f16 11, so a rounding is 2⁻⁹ or 2⁻¹² of it; over a model they mostly cancel. Measured:
  // 8·10⁻⁴ and 5·10⁻⁵.
  it.each([
    [{ bf16: true }, 3e-3],
    [{ fp16: true, initialLossScale: 4096 }, 3e-4],
  ])('%j gives the losses of float32 within %d', async (format, tolerance) => {
    const full = await runTiny({ ...larger, trainIters, device });
    const half = await runTiny({ ...larger, trainIters, device, ...format });
    const differences = half.losses.map((loss, i) => Math.abs(loss / (full.losses[i] ?? 0) - 1));
    expect(differences).toHaveLength(trainIters);
    expect(Math.max(...differences)).toBeLessThan(tolerance);
    expect(Math.max(...differences)).toBeGreaterThan(1e-6); // it was no float32
    expect(half.losses.at(-1)).toBeLessThan((half.losses[0] ?? 0) - 0.1);
    expect(half.stderr).not.toContain('skipped');
  });
});

it('a scale that is a power of two changes no bit in bf16, whose range holds it', async () => {
  const plain = await runTiny({ bf16: true });
  expect((await runTiny({ bf16: true, lossScale: 1024 })).losses).toEqual(plain.losses);
});

it('says which precision it trains in', async () => {
  expect((await runTiny({ trainIters: 1 })).stderr).toMatch(/^engine: .*; float32 throughout$/m);
  expect((await runTiny({ trainIters: 1, bf16: true })).stderr).toMatch(
    /^engine: .*; bf16 activations and products, float32 weights, gradients and optimizer$/m,
  );
  expect((await runTiny({ trainIters: 1, fp16: true })).stderr).toMatch(/^engine: .*loss scale from 4294967296 on$/m);
});

describe('gradients that overflow', () => {
  const scaled = { fp16: true, initialLossScale: 2 ** 40, trainIters: 60 };

  it('are skipped until the scale fits, and then the model learns; the log tells', async () => {
    using folder = temporaryFolder();
    const { stdout, stderr, losses } = await runTiny({ ...scaled, save: folder.path });
    const lines = readMetrics(join(folder.path, 'metrics.jsonl'));
    const begin = lines.findIndex(({ skippedIterations }) => skippedIterations === 0);
    // from 2^40 to where gradients of some 2^-12 fit into 65,504, and one more for the hysteresis of 2
    expect(begin).toBeGreaterThan(10);
    expect(begin).toBeLessThan(30);
    const skipped = lines.slice(0, begin);
    expect(skipped.map(({ lossScale }) => lossScale)).toEqual(skipped.map((_, i) => 2 ** (40 - i)));
    for (const line of skipped) {
      expect(line).toMatchObject({ skippedIterations: 1, lmLoss: Number.NaN, gradNorm: Number.NaN });
      expect(line.learningRate).toBe(lines[begin]?.learningRate); // the schedule waits
    }
    for (const line of lines.slice(begin).filter(({ skippedIterations }) => skippedIterations === 0)) {
      expect(line.lmLoss).toBeGreaterThan(0);
      expect(line.gradNorm).toBeLessThan(100); // the scale is divided out
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) - 0.5);

    const [first = '', good = ''] = [1, begin + 1].map(
      (i) => new RegExp(`^.*iteration +${i}/.*$`, 'm').exec(stdout)?.[0],
    );
    expect(first).toContain('| loss scale: 1099511627776.0 | number of skipped iterations:   1 |');
    expect(first).not.toContain('lm loss');
    expect(good).toMatch(
      /\| lm loss: \d\.\d+E\+00 \| loss scale: \d+\.0 \| grad norm: \d+\.\d+ \| number of skipped iterations: {3}0 \|/,
    );
    expect(stderr).toContain(
      'iteration 2 is skipped: gradients overflowed at loss scale 1099511627776; the next is 549755813888',
    );
    using checkpoint = openCheckpoint(folder.path);
    const { trainingState } = checkpoint.manifest;
    const total = lines.reduce((sum, { skippedIterations }) => sum + skippedIterations, 0);
    expect(trainingState).toMatchObject({ optimizerSteps: 60 - total, skippedIterations: total, precision: 'fp16' });
  });

  it('change neither weights nor moments', async () => {
    using folder = temporaryFolder();
    const [one, five] = [join(folder.path, 'one'), join(folder.path, 'five')];
    const options = { fp16: true, lossScale: 1e12 };
    await runTiny({ ...options, trainIters: 1, save: one });
    await runTiny({ ...options, trainIters: 5, save: five });
    using first = openCheckpoint(one);
    using last = openCheckpoint(five);
    expect(last.manifest.trainingState).toMatchObject({ optimizerSteps: 0, skippedIterations: 5 });
    for (const name of last.names()) {
      const bytes = last.read(name);
      expect(Buffer.compare(bytes, first.read(name)), name).toBe(0);
      if (name.startsWith('optimizer.'))
        expect(
          bytes.every((byte) => byte === 0),
          name,
        ).toBe(true);
    }
  });

  it.each<[string, RunOptions, string, string]>([
    ['a constant', { lossScale: 1e12 }, '20 times in a row at the lowest loss scale, 1000000000000', '--loss-scale'],
    [
      ...(['the floor', { initialLossScale: 2 ** 42, minLossScale: 2 ** 40, hysteresis: 1 }] as const),
      ...(['20 times in a row at the lowest loss scale, 1099511627776', '--min-loss-scale'] as const),
    ],
  ])('without end at %s end the run', async (_, options, message, remedy) => {
    const error: unknown = await runTiny({ fp16: true, ...options, trainIters: 100 }).catch((reason) => reason);
    expect(error).toBeInstanceOf(DivergenceError);
    expect(error).toMatchObject({ message: expect.stringContaining(message), remedy: expect.stringContaining(remedy) });
  });

  it('do not hide a loss that is no number: activations left the range of float16', async () => {
    const options = { fp16: true, initialLossScale: 1024, lr: 1e6, lrWarmupIters: 0 };
    const error: unknown = await runTiny(options).catch((reason) => reason);
    expect(error).toBeInstanceOf(DivergenceError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^training diverged: loss (NaN|Infinity)/),
      remedy: expect.stringContaining('--bf16, where activations may exceed 65,504'),
    });
  });
});

/** A scale that falls and grows within a few iterations. */
const lively = { fp16: true, initialLossScale: 2 ** 22, lossScaleWindow: 3, hysteresis: 1 };

describe('a resumed run', () => {
  it.each<[string, RunOptions]>([
    ['bf16', { bf16: true }],
    ['fp16', lively],
  ])('in %s equals the uninterrupted one to the last bit', async (name, format) => {
    using folder = temporaryFolder();
    const [whole, parts] = [join(folder.path, 'whole'), join(folder.path, 'parts')];
    const options = { ...format, logInterval: 4, trainIters: 24 };
    await runTiny({ ...options, save: whole });
    await runTiny({ ...options, save: parts, exitInterval: 10 });
    const { stderr } = await runTiny({ ...options, save: parts, load: parts });
    expect(stderr).not.toContain('note:');

    const figures = (path: string) =>
      readMetrics(join(path, 'metrics.jsonl')).map(
        ({ elapsedMs: _, tokensPerSecond: __, modelTflops: ___, ...kept }) => kept,
      );
    const lines = figures(whole);
    expect(lines).toHaveLength(6);
    expect(figures(parts)).toEqual(lines);
    if (name === 'fp16') {
      // there was a state to keep: the scale rose and fell
      const scales = lines.map(({ lossScale }) => lossScale);
      expect(scales.some((scale, i) => i > 0 && scale > (scales[i - 1] ?? 0))).toBe(true);
      expect(scales.some((scale, i) => i > 0 && scale < (scales[i - 1] ?? 0))).toBe(true);
      expect(lines.reduce((sum, { skippedIterations }) => sum + skippedIterations, 0)).toBeGreaterThan(5);
    }
    using expected = openCheckpoint(whole);
    using found = openCheckpoint(parts);
    expect(found.manifest.trainingState).toEqual(expected.manifest.trainingState);
    for (const tensor of expected.names()) {
      expect(Buffer.compare(found.read(tensor), expected.read(tensor)), tensor).toBe(0);
    }
  });

  it.each<[string, RunOptions, string, RunOptions, string]>([
    ['float32', {}, 'bf16', { bf16: true }, 'trained in fp32 and goes on in bf16'],
    ['float32', {}, 'fp16', { fp16: true, initialLossScale: 4096 }, 'goes on in fp16; the loss scale begins anew'],
    ['fp16', { fp16: true, initialLossScale: 4096 }, 'float32', {}, 'trained in fp16 and goes on in fp32'],
    ['bf16', { bf16: true }, 'fp16', { fp16: true, lossScale: 256 }, 'trained in bf16 and goes on in fp16'],
  ])('may go on from %s, %j, in %s, %j, and says so', async (_, before, __, after, words) => {
    using folder = temporaryFolder();
    await runTiny({ ...before, save: folder.path, exitInterval: 10 });
    const same = await runTiny({ ...before, load: folder.path });
    const other = await runTiny({ ...after, load: folder.path });
    expect(other.stderr).toContain(words);
    expect(other.losses).toHaveLength(10);
    // it goes on from the same weights, in another format: see the tolerances above
    for (const [i, loss] of other.losses.entries())
      expect(Math.abs(loss / (same.losses[i] ?? 0) - 1)).toBeLessThan(5e-3);
  });

  it('begins a scale of another kind anew, and says so', async () => {
    using folder = temporaryFolder();
    await runTiny({ fp16: true, lossScale: 512, save: folder.path, exitInterval: 10 });
    const { stderr } = await runTiny({ fp16: true, initialLossScale: 2048, load: folder.path });
    expect(stderr).toContain('note: the checkpoint has no dynamic loss scale; it begins anew');
  });
});

describe('recomputation in 16 bits', () => {
  it.each<[string, RunOptions]>([
    ['bf16', { bf16: true }],
    ['fp16', lively],
  ])('changes no bit in %s, whether it is profiled or not', async (_, format) => {
    using folder = temporaryFolder();
    const train = async (name: string, options: RunOptions): Promise<readonly number[]> => {
      const { losses } = await runTiny({ ...format, ...options, save: join(folder.path, name) });
      return losses;
    };
    const losses = await train('plain', {});
    const ways: Readonly<Record<string, RunOptions>> = {
      selective: { recomputeGranularity: 'selective' },
      full: { recomputeGranularity: 'full' },
      profiled: { recomputeGranularity: 'full', recomputeNumLayers: 2, profile: join(folder.path, 'trace.json') },
    };
    using expected = openCheckpoint(join(folder.path, 'plain'));
    for (const [name, options] of Object.entries(ways)) {
      expect(await train(name, options), name).toEqual(losses);
      using found = openCheckpoint(join(folder.path, name));
      for (const tensor of expected.names()) {
        expect(Buffer.compare(found.read(tensor), expected.read(tensor)), `${tensor} with ${name}`).toBe(0);
      }
    }
  });
});
