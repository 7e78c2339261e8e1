/**
 * Attention alone on a GPU: both sets of kernels, forward and backward, and each of the backward kernels. By itself:
 *
 *     node scripts/bootstrap.mjs bench/gpu-attention.ts --widths 64,96,128 --sequences 1024,2048
 */

import { fileURLToPath } from 'node:url';
import { messageOf } from '../src/base/errors.ts';
import { attentionBackwardPlan } from '../src/ops/attention/cuda.ts';
import { attentionBackward, attentionForward } from '../src/ops/attention/kernels.ts';
import { argumentsOf, type ProblemArguments, problemParameters } from '../src/ops/attention/problem.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { type CudaOptions, createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { defineKernel } from '../src/tensor/kernel.ts';
import { type AttentionVariant, attentionVariants } from '../src/tensor/launch.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { randomMatrix } from '../src/train/profile/limits.ts';
import { benchmarkOptions, median, report, timed } from './measure.ts';

export interface AttentionSizes {
  /** Channels of a head. */
  readonly widths: readonly number[];
  readonly sequences: readonly number[];
  /** b·s: the batch follows from the sequence. */
  readonly tokens: number;
  readonly heads: number;
  /** Probabilities of dropout; 0 is none. */
  readonly dropouts: readonly number[];
  /** Milliseconds that each figure is measured for, at least; thrice. */
  readonly milliseconds: number;
}
export const usualAttention: AttentionSizes = {
  ...{
    widths: [64, 96, 128],
    sequences: [1024, 2048],
    tokens: 16_384,
    heads: 16,
    dropouts: [0, 0.1],
    milliseconds: 30,
  },
};

interface Rate {
  readonly milliseconds: number;
  readonly tflops: number;
}
export interface AttentionResult {
  readonly variant: AttentionVariant;
  readonly width: number;
  readonly sequence: number;
  readonly batch: number;
  readonly dropout: number;
  readonly forward: Rate;
  /** As usually counted, five products, whatever the kernels make again. */
  readonly backward: Rate;
  /** The parts of the backward pass; those of the two large kernels by the products that they really make: three and four. */
  readonly deltaMilliseconds: number;
  readonly queryGradient: Rate;
  readonly keyGradients: Rate;
}
export interface AttentionReport {
  readonly results: readonly AttentionResult[];
  /** How far the variants' outputs and gradients are apart on a small problem of each width, relative to the largest. */
  readonly differences: readonly { readonly width: number; readonly output: number; readonly gradient: number }[];
  /** Variants that do not run here, and why. */
  readonly missing: readonly string[];
}

type Problem = ReturnType<typeof problemOf>;

/** Inputs, results and gradients of causal attention of fused queries, keys and values [b, s, n, 3, d] of bf16. */
function problemOf(engine: Engine, batch: number, sequence: number, heads: number, width: number, dropout: number) {
  const random = (channels: number, seed: number): Tensor =>
    randomMatrix(engine, 'bf16', [batch * sequence, channels], seed);
  const channels = heads * width;
  const strides = { batch: sequence * 3 * channels, row: 3 * channels, head: 3 * width };
  return {
    ...{ qkv: random(3 * channels, 1), dOut: random(channels, 2) },
    dQkv: Tensor.zeros(engine, [batch * sequence, 3 * channels], { dtype: 'bf16', kind: 'workspace' }),
    out: Tensor.zeros(engine, [batch * sequence, channels], { dtype: 'bf16', kind: 'workspace' }),
    logSumExp: Tensor.zeros(engine, [batch, heads, sequence], { kind: 'workspace' }),
    numbers: argumentsOf({
      ...{ batch, heads, queries: sequence, keys: sequence, offset: 0, width, query: strides, key: strides },
      ...{ scale: 1 / Math.sqrt(width), causal: true, probability: dropout, seed: 5, site: 3, firstSample: 0 },
      ...{ sequence, headOffset: 0 },
    }),
    /** Keys and values: the same memory from their first element on. */
    parts: (fused: Tensor) => [
      fused.view([fused.size - width], width),
      fused.view([fused.size - 2 * width], 2 * width),
    ],
    width,
  };
}

const runForward = (engine: Engine, { qkv, out, logSumExp, numbers, parts }: Problem): void => {
  const [k = qkv, v = qkv] = parts(qkv);
  attentionForward(engine, qkv, k, v, out, logSumExp, undefined, ...numbers);
  for (const part of [k, v]) part[Symbol.dispose]();
};

const runBackward = (engine: Engine, problem: Problem, kernel = attentionBackward): void => {
  const { qkv, out, logSumExp, dOut, dQkv, numbers, parts } = problem;
  const [k = qkv, v = qkv, dk = dQkv, dv = dQkv] = [...parts(qkv), ...parts(dQkv)];
  kernel(engine, qkv, k, v, out, logSumExp, undefined, dOut, dQkv, dk, dv, 0, ...numbers);
  for (const part of [k, v, dk, dv]) part[Symbol.dispose]();
};

/** Of the launches of the backward pass only those of one function. */
const partOfBackward = (part: string): typeof attentionBackward =>
  defineKernel(
    `attention_backward_${part}`,
    [
      ...(['values', 'values', 'values', 'values', 'floats', 'ids?'] as const),
      ...(['values', 'values', 'values', 'values', 'int'] as const),
      ...problemParameters,
    ],
    () => {
      throw new Error('only on a GPU');
    },
    {
      cuda: (device, q, k, v, out, logSumExp, ...rest) =>
        attentionBackwardPlan(device, q, k, v, out, logSumExp, ...rest).flatMap((step) =>
          'function' in step && step.function.includes(part) ? [{ ...step, workspace: 4 * logSumExp.size }] : [],
        ),
    },
  );
const [delta, queryGradient, keyGradients] = ['_delta', 'query_gradient', 'key_gradients'].map(partOfBackward);

/** Milliseconds of one run, the median of three times as many as fit. */
function measure(engine: Engine, body: () => void, milliseconds: number): number {
  const times = (count: number): number =>
    timed(() => {
      for (let i = 0; i < count; i++) body();
      engine.synchronize();
    }) / count;
  times(2); // compiles, loads, warms up
  const count = Math.max(1, Math.ceil(milliseconds / times(3)));
  return median([times(count), times(count), times(count)]);
}

function measureProblem(engine: Engine, problem: Problem, milliseconds: number): Omit<AttentionResult, 'variant'> {
  const [batch, heads, sequence] = problem.numbers as ProblemArguments;
  const { width } = problem;
  /** Multiply-adds count two; a causal mask hides half. */
  const flopsOfProduct = 2 * batch * heads * (sequence ** 2 / 2) * width;
  const rate = (body: () => void, products: number): Rate => {
    const each = measure(engine, body, milliseconds);
    return { milliseconds: each, tflops: (products * flopsOfProduct) / (each * 1e9) };
  };
  return {
    ...{ width, sequence, batch, dropout: problem.numbers[14] },
    forward: rate(() => runForward(engine, problem), 2),
    backward: rate(() => runBackward(engine, problem), 5),
    deltaMilliseconds: rate(() => runBackward(engine, problem, delta), 0).milliseconds,
    queryGradient: rate(() => runBackward(engine, problem, queryGradient), 3),
    keyGradients: rate(() => runBackward(engine, problem, keyGradients), 4),
  };
}

/** The outputs and gradients of one sample and two heads, with dropout. */
function outcomeOf(engine: Engine, width: number): readonly [output: number[], gradient: number[]] {
  return engine.scope(() => {
    const problem = problemOf(engine, 1, 1000, 2, width, 0.1);
    runForward(engine, problem);
    runBackward(engine, problem);
    return [problem.out.toArray(), problem.dQkv.toArray()];
  });
}

function differenceOf(a: readonly number[], b: readonly number[]): number {
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // one NaN makes the whole difference NaN, which JSON shows as null
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0) / largest;
}

/**
 * Measures every size by each variant that runs on this GPU.
 *
 * @param say gets a line for each result
 */
export function attentionBenchmark(
  sizes: Partial<AttentionSizes> = {},
  say: (line: string) => void = () => {},
  cuda: Omit<CudaOptions, 'attention'> = {},
  variants: readonly AttentionVariant[] = attentionVariants,
): AttentionReport {
  const { widths, sequences, tokens, heads, dropouts, milliseconds } = { ...usualAttention, ...sizes };
  const results: AttentionResult[] = [];
  const missing: string[] = [];
  const outcomes: ReturnType<typeof outcomeOf>[][] = widths.map(() => []);
  for (const variant of variants) {
    try {
      using engine = createCudaEngine({ ...cuda, attention: variant });
      // alone, a variant has nothing to be compared with
      if (variants.length > 1) {
        for (const [index, width] of widths.entries()) outcomes[index]?.push(outcomeOf(engine, width));
      }
      for (const width of widths) {
        for (const sequence of sequences) {
          for (const dropout of dropouts) {
            const batch = Math.max(1, Math.round(tokens / sequence));
            const result = engine.scope(() =>
              measureProblem(engine, problemOf(engine, batch, sequence, heads, width, dropout), milliseconds),
            );
            results.push({ variant, ...result });
            say(lineOf({ variant, ...result }));
          }
        }
      }
    } catch (error) {
      missing.push(`${variant}: ${messageOf(error)}`);
      say(`attention by ${missing.at(-1)}`);
    }
  }
  const differences = outcomes.flatMap(([one, other], index) =>
    one && other
      ? [
          {
            width: widths[index] ?? 0,
            output: differenceOf(one[0], other[0]),
            gradient: differenceOf(one[1], other[1]),
          },
        ]
      : [],
  );
  for (const each of differences) {
    say(`d ${each.width}: variants differ by ${each.output.toExponential(1)} and ${each.gradient.toExponential(1)}`);
  }
  return { results, differences, missing };
}

function lineOf({ variant, width, sequence, batch, dropout, ...rates }: AttentionResult): string {
  const words = (['forward', 'backward', 'queryGradient', 'keyGradients'] as const).map(
    (name) => `${name} ${rates[name].milliseconds.toFixed(3)} ms ${rates[name].tflops.toFixed(0)} TFLOP/s`,
  );
  return `${variant.padEnd(5)} d ${width}, b ${batch}, s ${sequence}, dropout ${dropout}: ${words.join(', ')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const numbers = (text: string): number[] => text.split(',').map(Number);
  const { widths, sequences, dropouts, heads, tokens, milliseconds } = usualAttention;
  const options = benchmarkOptions(process.argv.slice(2), {
    ...{ widths: `${widths}`, sequences: `${sequences}`, dropouts: `${dropouts}` },
    ...{ heads: `${heads}`, tokens: `${tokens}`, milliseconds: `${milliseconds}` },
  });
  const result = attentionBenchmark(
    {
      ...{
        widths: numbers(options.widths),
        sequences: numbers(options.sequences),
        dropouts: numbers(options.dropouts),
      },
      ...{ heads: Number(options.heads), tokens: Number(options.tokens), milliseconds: Number(options.milliseconds) },
    },
    (line) => void process.stderr.write(`${line}\n`),
  );
  report('gpu-attention', result);
}
