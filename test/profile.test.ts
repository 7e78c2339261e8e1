/** `--profile`: what the trace of a run says, and that watching changes nothing. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../src/checkpoint/testing.ts';
import { AdamW } from '../src/optim/adamw.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { countLossTerms, gptLossSum } from '../src/train/gpt-loss.ts';
import { SpanRecorder } from '../src/train/profile/spans.ts';
import { trainStep } from '../src/train/step.ts';
import { noCpuEngine } from './support/engines.ts';
import { tinyBatches, tinyModel } from './support/tiny-gpt.ts';
import { runTinyOnRanks } from './support/tiny-ranks.ts';
import { runTiny } from './support/tiny-run.ts';

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly id?: string;
  readonly args?: Record<string, unknown>;
}

const device = noCpuEngine ? 'reference' : 'cpu';

function readTrace(path: string): TraceEvent[] {
  const { traceEvents } = JSON.parse(readFileSync(path, 'utf8')) as { traceEvents: TraceEvent[] };
  return traceEvents;
}

const spansOf = (events: readonly TraceEvent[], rank: number): TraceEvent[] =>
  events.filter(({ ph, pid }) => ph === 'X' && pid === rank);

/** What each span lies in, from outside in. @throws where two spans of a thread overlap without one holding the other. */
function ancestries(spans: readonly TraceEvent[]): Map<TraceEvent, readonly TraceEvent[]> {
  const open: TraceEvent[] = [];
  const found = new Map<TraceEvent, readonly TraceEvent[]>();
  const endOf = ({ ts, dur }: TraceEvent): number => ts + dur;
  const slack = 0.002; // times are rounded to a nanosecond, in microseconds
  for (const span of spans) {
    while (open.length > 0 && endOf(open.at(-1) as TraceEvent) <= span.ts + slack) open.pop();
    for (const holder of open) {
      if (span.ts < holder.ts - slack || endOf(span) > endOf(holder) + slack) {
        throw new Error(`${span.name} leaves ${holder.name}`);
      }
    }
    found.set(span, [...open]);
    open.push(span);
  }
  return found;
}

const ofKind = (spans: readonly TraceEvent[], kind: string): TraceEvent[] => spans.filter(({ cat }) => cat === kind);

describe('a profile of one rank', () => {
  it('shows the asked steps as spans in each other, and prints a table', async () => {
    using folder = temporaryFolder();
    const profile = join(folder.path, 'new', 'trace.json');
    const run = await runTiny({ device, trainIters: 6, profile, profileStepStart: 2, profileStepEnd: 4 });
    const events = readTrace(profile);
    const spans = spansOf(events, 0);
    const holders = ancestries(spans);
    const steps = ofKind(spans, 'step');
    expect(steps.map(({ name }) => name)).toEqual(['step 3', 'step 4']);
    for (const kernel of ofKind(spans, 'kernel')) {
      const kinds = (holders.get(kernel) ?? []).map(({ cat }) => cat);
      expect(['step,phase,operator', 'step,phase']).toContain(kinds.join());
      expect(kernel.args).toMatchObject({ dtype: 'f32', bytes: expect.any(Number), tensors: expect.any(String) });
    }
    const phases = (holders.size > 0 ? ofKind(spans, 'phase') : []).map(({ name }) => name);
    const micro = ['forward', 'backward'];
    const perStep = ['data', 'clear gradients', ...micro, ...micro, 'reduce gradients', 'gradient norm', 'optimizer'];
    expect(phases).toEqual([...perStep, ...perStep]);
    expect(ofKind(spans, 'operator').some(({ name }) => name === 'linear backward')).toBe(true);
    const time = (kind: string): number => ofKind(spans, kind).reduce((sum, { dur }) => sum + dur, 0);
    expect(time('kernel')).toBeGreaterThan(0);
    expect(time('kernel')).toBeLessThanOrEqual(time('step'));
    const memory = events.filter(({ ph }) => ph === 'C');
    expect(memory).toHaveLength(ofKind(spans, 'operator').length);
    expect(memory[0]?.args).toMatchObject({ parameters: expect.any(Number), activations: expect.any(Number) });
    expect(run.stderr).toMatch(/^linear backward +[\d.]+ +[\d.]+ % /m);
    expect(run.stderr).toMatch(/^the step \(mean of 2\) /m);
    expect(run.stderr).toContain(`wrote ${profile}`);
  });

  it('leaves the losses as they are, bit for bit', async () => {
    using folder = temporaryFolder();
    const plain = await runTiny({ device, trainIters: 6 });
    const watched = await runTiny({ device, trainIters: 6, profile: join(folder.path, 'trace.json') });
    expect(watched.losses).toEqual(plain.losses);
  });

  it('is written when the run ends before the last step that was asked for', async () => {
    using folder = temporaryFolder();
    const profile = join(folder.path, 'trace.json');
    await runTiny({ device, trainIters: 6, exitInterval: 2, profile, profileStepStart: 1, profileStepEnd: 5 });
    expect(ofKind(readTrace(profile), 'step').map(({ name }) => name)).toEqual(['step 2']);
    const early = await runTiny({ device, trainIters: 6, exitInterval: 2, profile, profileStepStart: 4 });
    expect(early.stderr).toContain('the run ended before the first step that was to be profiled');
  });

  it('fails before training where it cannot be written', async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'file');
    writeFileSync(file, '');
    for (const profile of [folder.path, join(file, 'trace.json')]) {
      let stepped = 0;
      const events = { stepped: () => void stepped++ };
      await expect(runTiny({ device, profile }, { events })).rejects.toThrow(/cannot write .*/);
      expect(stepped).toBe(0);
    }
    expect(existsSync(join(folder.path, 'trace.json'))).toBe(false);
  });
});

describe('the recorder', () => {
  it('sees every kernel of a step', () => {
    using engine = createReferenceEngine();
    const model = tinyModel(engine);
    using parameters = model.parameters;
    using optimizer = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 });
    const stream = tinyBatches({ microBatchSize: 2 }, 'train', 0);
    const ran: string[] = [];
    const run = engine.backend.run.bind(engine.backend);
    engine.backend.run = (kernel, values) => {
      ran.push(kernel.name);
      run(kernel, values);
    };
    const task = {
      ...{ engine, parameters, grid: soloGrid(), countTerms: countLossTerms, trainBatches: () => stream },
      ...{ validationBatches: () => undefined, testBatches: () => undefined },
      forwardStep: (batch: ReturnType<typeof stream.next>, training: boolean) =>
        gptLossSum(engine, model, batch, training),
    };
    const recorder = new SpanRecorder();
    recorder.begin(engine);
    trainStep(task, stream, 2, optimizer, { learningRate: 1e-3, clipGrad: 1 });
    const kernels = recorder.take().filter(({ kind }) => kind === 'kernel');
    expect(kernels.map(({ name }) => name)).toEqual(ran);
    expect(new Set(ran).size).toBeGreaterThan(10);
    expect(engine.observer).toBeUndefined();
  });
});

describe('a profile of ranks on threads', () => {
  it.each([
    { tensor: 2, data: 1, group: 'tensor group of ranks 0, 1' },
    { tensor: 1, data: 2, group: 'data group of ranks 0, 1' },
  ])('shows the collectives of $group', { timeout: 60_000 }, async ({ tensor, data, group }) => {
    using folder = temporaryFolder();
    const profile = join(folder.path, 'trace.json');
    const output = await runTinyOnRanks({ tensor, data }, { device, trainIters: 3, profile, profileStepStart: 1 });
    const events = readTrace(profile);
    for (const rank of [0, 1]) {
      const spans = spansOf(events, rank);
      ancestries(spans);
      expect(ofKind(spans, 'step')).toHaveLength(2);
      const reductions = ofKind(spans, 'collective').filter(({ name }) => name.startsWith('all-reduce'));
      expect(reductions.length).toBeGreaterThan(0);
      for (const { dur, args = {} } of reductions) {
        expect(args).toMatchObject({ group, number: expect.any(Number), bytes: expect.any(Number) });
        const [waiting, moving] = [Number(args['waiting ms']), Number(args['moving ms'])];
        expect(waiting).toBeGreaterThanOrEqual(0);
        expect(moving).toBeGreaterThanOrEqual(0);
        expect(waiting + moving).toBeCloseTo(dur / 1000, 4); // dur is rounded to a nanosecond
      }
      const inFlight = events.filter(({ pid, cat }) => pid === rank && cat === 'in flight');
      const begun = inFlight.filter(({ ph }) => ph === 'b').map(({ id }) => id);
      expect(begun.length).toBeGreaterThan(0);
      expect(inFlight.filter(({ ph }) => ph === 'e').map(({ id }) => id)).toEqual(expect.arrayContaining(begun));
    }
    const calls = [0, 1].map((rank) => ofKind(spansOf(events, rank), 'collective').map(({ args }) => args?.['number']));
    expect(calls[0]).toEqual(calls[1]);
    expect(output).toMatch(/^all-reduce, (?:tensor|data) group /m);
    expect(output).toMatch(/waiting for other ranks/);
  });
});
