/**
 * A small GPT trained on real text in float32, bf16 and fp16: the same data, dropout and initial weights, so that losses differ by the
 * format alone. Micikevicius et al. 2018 (§4) found that mixed precision matches float32; here the curves say how closely.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError, UsageError } from '../src/base/errors.ts';
import { parseCommandLine } from '../src/config/command.ts';
import { pretrainGptCommand } from '../src/config/pretrain-gpt.ts';
import { pretrainGpt } from '../src/train/pretrain-gpt.ts';
import { lineChart } from '../src/train/report/svg-chart.ts';
import { megatron } from '../test/support/command.ts';
import { sharedData } from '../test/support/shared-data.ts';
import { benchmarkOptions, median, report } from './measure.ts';

const defaults = {
  ...{ iterations: '500', layers: '4', hidden: '128', heads: '4', seq: '128', batch: '8', vocabulary: '4096' },
  ...{ threads: '2', lr: '1e-3', dropout: '0.1', window: '25' },
};
type Options = Record<keyof typeof defaults, string>;

/** A scale of 2^16 fits at once, or nearly: Megatron's 2^32 would skip the first 15 updates, and compare other updates. */
const precisions = {
  fp32: [],
  bf16: ['--bf16'],
  fp16: ['--fp16', '--initial-loss-scale', '65536'],
} as const;
type PrecisionName = keyof typeof precisions;
const names = Object.keys(precisions) as PrecisionName[];

interface Run {
  /** Of every iteration. */
  readonly losses: readonly number[];
  /** At the end, on text that was not trained on. */
  readonly validation: number;
  readonly skipped: number;
  readonly medianStepMs: number;
}

export async function precisionBenchmark(args: readonly string[]): Promise<void> {
  const options = benchmarkOptions(args, defaults);
  const [iterations, window] = [Number(options.iterations), Number(options.window)];
  if (!(window >= 1 && iterations > 2 * window)) {
    throw new UsageError('--iterations must be more than twice --window, over which losses are averaged');
  }
  const { path: text, missing } = sharedData('tinystories/train_0.txt');
  if (missing !== undefined) throw new DataError(missing);
  const folder = mkdtempSync(join(tmpdir(), 'megatron-precision-'));
  try {
    const data = await prepare(text, folder, options.vocabulary);
    const runs = new Map<PrecisionName, Run>();
    for (const name of names) runs.set(name, await train(name, data, options));
    tell(options, runs, window);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Learns a tokenizer of the stories and encodes each as a document. @returns the options that name both */
async function prepare(text: string, folder: string, vocabulary: string): Promise<readonly string[]> {
  const [tokenizer, prefix, input] = ['tokenizer', 'stories', 'stories.jsonl'].map((name) => join(folder, name)) as [
    ...[string, string, string],
  ];
  const stories = readFileSync(text, 'utf8')
    .split('<|endoftext|>')
    .filter((story) => story.trim() !== '');
  writeFileSync(input, stories.map((story) => `${JSON.stringify({ text: story.trim() })}\n`).join(''));
  const tokenizerWords = [
    '--tokenizer-type',
    'HuggingFaceTokenizer',
    '--tokenizer-model',
    join(tokenizer, 'tokenizer.json'),
  ];
  for (const words of [
    ['train-tokenizer', '--input', input, '--vocab-size', vocabulary, '--output', tokenizer],
    ['preprocess', '--input', input, '--output-prefix', prefix, '--append-eod', ...tokenizerWords],
  ]) {
    const { code, stderr } = await megatron(words);
    if (code !== 0) throw new DataError(stderr);
  }
  return ['--data-path', `${prefix}_text_document`, '--split', '98,2', ...tokenizerWords];
}

async function train(name: PrecisionName, data: readonly string[], options: Options): Promise<Run> {
  const { iterations, layers, hidden, heads, seq, batch, threads, lr, dropout } = options;
  const line = parseCommandLine(pretrainGptCommand, [
    ...['--num-layers', layers, '--hidden-size', hidden, '--num-attention-heads', heads, '--seq-length', seq],
    ...['--micro-batch-size', batch, '--train-iters', iterations, '--lr', lr, '--num-threads', threads],
    ...[
      '--hidden-dropout',
      dropout,
      '--attention-dropout',
      dropout,
      '--eval-interval',
      iterations,
      '--eval-iters',
      '20',
    ],
    ...[...data, ...precisions[name]],
  ]);
  if (line.help) throw new UsageError('no help was asked for');
  const losses: number[] = [];
  const times: number[] = [];
  let [validation, skipped] = [Number.NaN, 0];
  const quiet = { write: () => {} };
  await pretrainGpt(line.config, {
    ...{ stdout: quiet, stderr: quiet },
    events: {
      stepped: ({ iteration, loss, elapsedMs }) => {
        losses.push(loss);
        times.push(elapsedMs);
        if (iteration % 50 === 0) process.stderr.write(`${name}: iteration ${iteration}, loss ${loss.toFixed(4)}\n`);
      },
      skipped: () => {
        skipped++;
      },
      validated: (record) => {
        if (record.split === 'validation') validation = record.loss;
      },
    },
  });
  return { losses, validation, skipped, medianStepMs: median(times) };
}

/** Means over `window` iterations, the last of which is the one they stand for. */
function smooth(losses: readonly number[], window: number): number[] {
  return losses.slice(window - 1).map((_, i) => losses.slice(i, i + window).reduce((a, b) => a + b, 0) / window);
}

function tell(options: Options, runs: ReadonlyMap<PrecisionName, Run>, window: number): void {
  const runOf = (name: PrecisionName): Run => runs.get(name) as Run;
  const full = smooth(runOf('fp32').losses, window);
  const comparisons = names
    .filter((name) => name !== 'fp32')
    .map((name) => {
      const differences = smooth(runOf(name).losses, window).map((loss, i) => Math.abs(loss / (full[i] as number) - 1));
      const largest = Math.max(...differences);
      return {
        precision: name,
        largestDifference: largest,
        atIteration: differences.indexOf(largest) + window,
        lastDifference: differences.at(-1),
        validationDifference: Math.abs(runOf(name).validation / runOf('fp32').validation - 1),
      };
    });
  const chart = lineChart({
    title: 'The same training in three number formats',
    subtitle: `${options.layers} layers, width ${options.hidden}, real stories; means over ${window} iterations`,
    xLabel: 'iteration',
    yLabel: 'lm loss',
    series: names.map((name) => {
      const y = smooth(runOf(name).losses, window);
      return { label: name, x: y.map((_, i) => i + window), y };
    }),
  });
  report('precision', {
    withinOnePercent: comparisons.every(({ largestDifference }) => largestDifference < 0.01),
    ...{ comparisons, options, load: loadavg()[0] },
    runs: Object.fromEntries(
      names.map((name) => {
        const { losses, ...figures } = runOf(name);
        return [name, { options: precisions[name], ...figures, lastLosses: smooth(losses, window).at(-1), losses }];
      }),
    ),
  });
  writeFileSync(new URL('./results/precision.svg', import.meta.url), chart);
  for (const { precision, largestDifference, atIteration, validationDifference } of comparisons) {
    const percent = (share: number): string => `${(share * 100).toFixed(3)} %`;
    process.stderr.write(
      `${precision}: smoothed losses at most ${percent(largestDifference)} from float32's (iteration ${atIteration}), ` +
        `validation ${percent(validationDifference)}\n`,
    );
  }
}
