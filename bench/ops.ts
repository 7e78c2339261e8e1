/** Every operator's share of a training step, and its rate against the limits of this machine, measured in the same run. */

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { UsageError } from '../src/base/errors.ts';
import { soloGrid } from '../src/parallel/grid.ts';
import { createEngine } from '../src/tensor/engines/select.ts';
import { type Profile, Profiler } from '../src/train/profile/profiler.ts';
import type { OperatorRow, Summary } from '../src/train/profile/summary.ts';
import { formatRate, limitWords, percentOf, rateOf, shareOfLimit, titleOf } from '../src/train/profile/table.ts';
import { gptStep, stepSizes } from './gpt-step.ts';
import { benchmarkOptions, report } from './measure.ts';
import { rowChart } from './row-chart.ts';

/** An operator that takes more of the step than this and stays below this share of its limit is worth work. */
const [notableShare, goal] = [0.03, 0.6];
const warmupSteps = 2;

export async function opsBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ model: '124m', precision: 'bf16', batch: '4', seq: '1024', dropout: '0', steps: '3', threads: '2' },
    ...{ trace: '' },
  });
  const steps = Number(options.steps);
  if (!Number.isInteger(steps) || steps < 1) throw new UsageError(`--steps ${options.steps} is no number of steps`);
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  using engine = await createEngine({ threads: Number(options.threads), notify: note });
  const trainIters = warmupSteps + steps;
  const profiler = new Profiler({
    file: options.trace || undefined,
    stepStart: warmupSteps,
    stepEnd: trainIters,
    trainIters,
    note,
  });
  const sizes = stepSizes(options);
  profiler.attach(engine, soloGrid(), sizes.computeType);
  const ours = gptStep(engine, sizes);
  for (let iteration = 1; iteration <= trainIters; iteration++) {
    profiler.stepping(iteration);
    ours.step();
    profiler.stepped(iteration);
    note(`step ${iteration}/${trainIters}`);
  }
  const { profile } = profiler;
  if (!profile) throw new UsageError('nothing was profiled');
  const { summary, limits } = profile;
  const { model, precision, batch, seq, dropout } = options;
  const name = `ops-${model}-${precision}-b${batch}-s${seq}-d${dropout}`;
  const tokensPerSecond = (Number(batch) * Number(seq) * 1000 * summary.steps) / summary.stepMs;
  writeFileSync(new URL(`./results/${name}.svg`, import.meta.url), chartOf(profile, options));
  report(name, {
    flagged: summary.rows.filter((row) => isNotable(row, summary)).map(titleOf),
    load: loadavg(),
    options,
    engine: engine.backend.description,
    limits: { matrixFlopsPerSecond: limits.matrix, memoryBytesPerSecond: limits.bandwidth },
    stepMs: summary.stepMs / summary.steps,
    tokensPerSecond,
    modelTflops: (tokensPerSecond * ours.modelFlops) / 1e12,
    shareInKernels: summary.kernelMs / summary.stepMs,
    shareInNoOperator: summary.outsideMs / summary.stepMs,
    operators: summary.rows.map((row) => ({
      ...{ name: titleOf(row), shareOfStep: row.ms / summary.stepMs, msPerStep: row.ms / summary.steps },
      ...{ callsPerStep: row.calls / summary.steps, flopsPerStep: row.flops / summary.steps },
      ...{ bytesPerStep: row.bytes / summary.steps, rate: rateWords(row), shareOfLimit: shareOfLimit(row) },
      flagged: isNotable(row, summary),
    })),
  });
}

const rateWords = (row: OperatorRow): string => {
  const rate = rateOf(row);
  return rate ? formatRate(rate.perSecond, rate.unit) : '';
};

function isNotable(row: OperatorRow, { stepMs }: Summary): boolean {
  const share = shareOfLimit(row);
  return row.ms > notableShare * stepMs && share !== undefined && share < goal;
}

function chartOf({ summary, limits }: Profile, { model, precision, batch, seq }: Record<string, string>): string {
  const rows = summary.rows.filter((row) => row.ms > 0.002 * summary.stepMs);
  const largest = Math.max(...rows.map(({ ms }) => ms), summary.outsideMs);
  const outside = {
    ...{ label: 'in no operator', left: summary.outsideMs / largest, right: undefined, rightWords: '', marked: false },
    leftWords: percentOf(summary.outsideMs, summary.stepMs),
  };
  return rowChart({
    title: `Where a training step of GPT-2 ${model} goes (${precision}, ${batch} × ${seq} tokens)`,
    subtitle: `${(summary.stepMs / summary.steps).toFixed(0)} ms a step; this machine's limits: ${limitWords(limits)}`,
    leftTitle: 'share of the step',
    rightTitle: `of the machine's limit (line at ${100 * goal} %)`,
    goal,
    rows: [
      ...rows.map((row) => {
        const share = shareOfLimit(row);
        return {
          ...{ label: titleOf(row), left: row.ms / largest, leftWords: percentOf(row.ms, summary.stepMs) },
          ...{ right: share, rightWords: share === undefined ? '' : `${percentOf(share, 1)}  ${rateWords(row)}` },
          marked: isNotable(row, summary),
        };
      }),
      outside,
    ],
  });
}
