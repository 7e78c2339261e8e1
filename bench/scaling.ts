/**
 * The paper's scaling study (§5.1) on this machine, its workers being ranks with `--threads` threads each.
 *
 * Figure 5, model parallel: parameters per worker are held constant, the batch too; efficiency is parameters × tokens per
 * worker-second, relative to one worker. Figure 5, with data parallelism: every worker holds the small model, and the batch grows.
 * Table 8: one model and one batch on more workers. All configurations live in one process and take turns step by step, so
 * that what changes in the machine falls on all of them alike; the medians of `--rounds` steps are compared during which no other
 * program was busy. On a busy machine that takes longer, at most `--minutes`; then all steps count, and the result says so.
 * A lone worker has the machine's memory bandwidth and caches to itself, which counts against several.
 */

import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { UsageError } from '../src/base/errors.ts';
import { launch } from '../src/comm/launch.ts';
import { modelFlopsPerToken } from '../src/train/report/flops.ts';
import { barChart } from './bar-chart.ts';
import { benchmarkOptions, median, report } from './measure.ts';
import { type Configuration, type ConfigurationTimes, isQuiet, type ScalingWork } from './scaling-rank.ts';

/**
 * By T: width relative to the first, heads, layers. Like the paper's Table 1 both width and depth grow; with a vocabulary of 8,192
 * at width 384 the parameters are 17, 36, 70 and 134 million: 1, 2.06, 4.04 and 7.7 times.
 */
const growth: Readonly<Record<number, readonly [number, number, number]>> = {
  1: [1, 6, 8],
  2: [4 / 3, 8, 10],
  4: [2, 12, 9],
  8: [8 / 3, 16, 10],
};

/** What the paper measured on V100s: Figure 5 (model parallel; with 64-way data parallelism) and Table 8. */
const paper = {
  weakTensor: { 1: 1, 2: 0.95, 4: 0.82, 8: 0.77 } as Readonly<Record<number, number>>,
  strong: { 1: 1, 2: 1.64, 4: 2.34, 8: 2.98 } as Readonly<Record<number, number>>,
};

export async function scalingBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, {
    ...{ workers: '2', threads: '1', width: '384', batch: '8', seq: '256', vocabulary: '8192', dropout: '0.1' },
    ...{ rounds: '9', minutes: '10', name: 'scaling' },
  });
  const number = (key: 'workers' | 'threads' | 'width' | 'batch' | 'seq' | 'vocabulary' | 'rounds'): number => {
    const value = Number(options[key]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new UsageError(`--${key} must be a whole number above 0, not ${options[key]}`);
  };
  const counts = [1, 2, 4, 8].filter((count) => count <= number('workers'));
  const model = (count: number): Omit<Configuration, 'tensor' | 'data'> => {
    const [factor, heads, layers] = growth[count] ?? [1, 6, 8];
    const hidden = number('width') * factor;
    if (hidden % heads !== 0) throw new UsageError('--width must be a multiple of 6, or of 12 with 4 workers and more');
    return { hidden, heads, layers };
  };
  const alone: Configuration = { tensor: 1, data: 1, ...model(1) };
  const more = counts.slice(1);
  const configurations: Configuration[] = [
    alone,
    ...more.map((count) => ({ tensor: count, data: 1, ...model(count) })),
    ...more.map((count) => ({ ...alone, data: count })),
    // heads of the small model: 6 divide by 2 only
    ...more.filter((count) => alone.heads % count === 0).map((count) => ({ ...alone, tensor: count })),
  ];
  const work: ScalingWork = {
    ...{ configurations, batch: number('batch'), seq: number('seq'), vocabulary: number('vocabulary') },
    ...{ dropout: Number(options.dropout), rounds: number('rounds'), threads: number('threads') },
    minutes: Number(options.minutes),
  };
  const loadBefore = loadavg()[0];
  const [first] = await launch<ConfigurationTimes[]>(
    ...([counts.at(-1) ?? 1, new URL('./scaling-rank.ts', import.meta.url), work] as const),
    { threadsPerRank: work.threads },
  );
  const rows = configurations.map((configuration, i) =>
    describe(configuration, first?.[i] as ConfigurationTimes, work),
  );
  const base = rows[0] as Row;
  const results = rows.map((row) => ({
    ...row,
    efficiency: row.parametersTokensPerWorkerSecond / base.parametersTokensPerWorkerSecond,
    speedUp: row.tokensPerSecond / base.tokensPerSecond,
  }));
  const weakTensor = results.slice(0, counts.length);
  const weakData = [results[0], ...results.slice(counts.length, 2 * counts.length - 1)] as Result[];
  const strong = [results[0], ...results.slice(2 * counts.length - 1)] as Result[];
  const chart = draw({ weakTensor, weakData, strong }, work);
  writeFileSync(new URL(`./results/${options.name}.svg`, import.meta.url), chart);
  report(options.name, {
    ...{ options, engine: first?.[0]?.engine, cores: availableParallelism(), loadBefore, paper },
    ...{ weakTensor, weakData, strong },
  });
}

type Row = ReturnType<typeof describe>;
type Result = Row & { readonly efficiency: number; readonly speedUp: number };

function describe(configuration: Configuration, times: ConfigurationTimes, work: ScalingWork) {
  const { tensor, data, layers, hidden } = configuration;
  const { batch, seq, vocabulary } = work;
  const quiet = times.steps.filter(isQuiet);
  const counted = quiet.length >= work.rounds ? quiet : times.steps;
  const seconds = median(counted.map(({ step }) => step)) / 1000;
  const inCollectives = median(counted.map(({ collectives }) => collectives));
  const workers = tensor * data;
  const tokensPerSecond = (batch * data * seq) / seconds;
  const shape = { numLayers: layers, hiddenSize: hidden, sequenceLength: seq, vocabularySize: vocabulary };
  return {
    ...{ ...configuration, workers, parameters: times.parameters, medianStepMs: seconds * 1000, tokensPerSecond },
    parametersTokensPerWorkerSecond: (times.parameters * tokensPerSecond) / workers,
    modelGflopsPerWorker: (modelFlopsPerToken(shape) * tokensPerSecond) / workers / 1e9,
    collectives: {
      ...{ medianMs: inCollectives, share: inCollectives / (seconds * 1000) },
      ...{ callsPerStep: times.collectiveCalls, bytesPerStep: times.collectiveBytes },
    },
    ...{ undisturbed: counted === quiet, quietSteps: quiet.length, steps: times.steps },
  };
}

function draw(results: Record<'weakTensor' | 'weakData' | 'strong', Result[]>, work: ScalingWork): string {
  const percent = (value: number): string => `${(100 * value).toFixed(value < 0.9995 && value > 0.9 ? 1 : 0)} %`;
  const workers = ({ workers: count }: Result): string => (count === 1 ? '1 worker' : `${count} workers`);
  const efficiencies = [0, 0.25, 0.5, 0.75, 1].map((value) => ({ value, words: `${100 * value} %` }));
  const most = Math.max(2, ...results.strong.map((row) => row.workers));
  const bars = (rows: Result[], key: 'efficiency' | 'speedUp', figures: Readonly<Record<number, number>> = {}) =>
    rows.flatMap((row) => {
      const words = (value: number): string => (key === 'speedUp' ? `${value.toFixed(2)}×` : percent(value));
      const theirs = figures[row.workers];
      return [
        { label: workers(row), value: row[key], words: words(row[key]), series: 0 },
        ...(theirs === undefined ? [] : [{ label: workers(row), value: theirs, words: words(theirs), series: 1 }]),
      ];
    });
  const size = `batch ${work.batch} × ${work.seq} tokens, ${work.threads} thread${work.threads === 1 ? '' : 's'} a worker`;
  const millions = (rows: Result[]): string => rows.map((row) => (row.parameters / 1e6).toFixed(1)).join(' → ');
  return barChart({
    title: 'Scaling on one machine, measured as in the paper (Figure 5, Table 8)',
    subtitle: `GPT of ${millions(results.weakTensor.slice(0, 1))} million parameters a worker, ${size}`,
    legend: ['this machine', "the paper's V100s"],
    panels: [
      {
        title: 'Model parallel, weak scaling',
        subtitle: `${millions(results.weakTensor)} million parameters`,
        ...{ bars: bars(results.weakTensor, 'efficiency', paper.weakTensor), top: 1.1, ticks: efficiencies },
      },
      {
        title: 'Data parallel, weak scaling',
        subtitle: 'the batch grows with the workers',
        ...{ bars: bars(results.weakData, 'efficiency'), top: 1.1, ticks: efficiencies },
      },
      {
        title: 'Model parallel, strong scaling',
        subtitle: 'one model, one batch: speed-up',
        bars: bars(results.strong, 'speedUp', paper.strong),
        top: 1.1 * most,
        ticks: Array.from({ length: most + 1 }, (_, value) => ({ value, words: `${value}×` })),
      },
    ],
  });
}
