/** How attention runs on a GPU: flash attention on tensor cores for 16-bit tiles, plain kernels for the rest. */

import { EngineError } from '../../base/errors.ts';
import { isHalf } from '../../tensor/dtype.ts';
import type { CudaArgument, CudaDevice, CudaLaunch, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { i64, scratch } from '../native/cuda/plan.ts';
import { type AttentionProblem, type ProblemArguments, problemOf, problemParameters } from './problem.ts';

/** Four warps, in every kernel here. */
const block = 128;
/** The widest head that the plain kernels take: 32 · plainColumns of plain.cuh. */
const widestPlain = 256;

/**
 * Widths that heads are padded to by flash attention; how many keys its forward pass takes at once, and how many queries the
 * gradients of keys and values. The same numbers stand in cuda.cu.
 */
const flashWidths = [
  { padded: 64, keyStep: 64, queryStep: 64 },
  { padded: 96, keyStep: 64, queryStep: 64 },
  { padded: 128, keyStep: 32, queryStep: 32 },
] as const;
/** Queries of a block, 32 for each warp; keys of one that makes their gradients. */
const queryRows = 128;
const keyRows = 64;
/** Keys at once in the gradient of queries. */
const gradientKeyStep = 32;
/** With fewer queries most of a tile would be padding. */
const fewestQueries = 16;

/** Bytes of `rows` rows in shared memory; see `pitchOf` of tiles.cuh. */
const tileBytes = (rows: number, padded: number): number => 2 * rows * (padded + 8);

/**
 * Bytes of shared memory of the three kernels: fixed tiles, and two stages of two tiles that come and go; for the gradients of
 * keys and values also probabilities and their gradients.
 */
function sharedBytesOf({ padded, keyStep, queryStep }: (typeof flashWidths)[number]) {
  return {
    forward: tileBytes(queryRows + 4 * keyStep, padded),
    queryGradient: tileBytes(2 * queryRows + 4 * gradientKeyStep, padded),
    keyGradients: tileBytes(2 * keyRows + 4 * queryStep, padded) + tileBytes(2 * keyRows, queryStep),
  };
}

/** The tiles for a problem; undefined where the plain kernels must do. */
function flashTilesOf(device: CudaDevice, { dtype }: Tensor, { width, queries }: AttentionProblem) {
  if (!isHalf(dtype) || device.architecture < 80 || queries < fewestQueries) return undefined;
  const tiles = flashWidths.find(({ padded }) => width <= padded);
  if (!tiles) return undefined;
  const sharedBytes = sharedBytesOf(tiles);
  return Math.max(...Object.values(sharedBytes)) <= device.sharedBytesPerBlock ? { ...tiles, sharedBytes } : undefined;
}

const argumentsFor = (problem: ProblemArguments): CudaArgument[] =>
  problem.map((value, index): CudaArgument => {
    if (typeof value !== 'number') return { counter: value };
    const kind = problemParameters[index];
    if (kind === 'counter') return { counter: value };
    return kind === 'int' ? { i64: value } : kind === 'uint32' ? { u32: value } : { f32: value };
  });

function checkWidth({ width }: AttentionProblem): void {
  if (width <= widestPlain) return;
  throw new EngineError(`attention on a GPU takes heads of at most ${widestPlain} channels, got ${width}`, {
    remedy: 'Use more attention heads.',
  });
}

export function attentionForwardPlan(
  device: CudaDevice,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  out: Tensor,
  logSumExp: Tensor,
  firstKey: Tensor | undefined,
  ...problem: ProblemArguments
): readonly CudaStep[] {
  const sizes = problemOf(problem);
  const { batch, heads, queries } = sizes;
  const common = { block, arguments: [q, k, v, out, logSumExp, firstKey, ...argumentsFor(problem)] };
  const flash = flashTilesOf(device, q, sizes);
  if (!flash) {
    checkWidth(sizes);
    return [{ ...common, function: 'attention_forward_plain', grid: [queries, batch * heads] }];
  }
  return [
    {
      ...{ ...common, function: `attention_forward_${flash.padded}`, sharedBytes: flash.sharedBytes.forward },
      grid: [Math.ceil(queries / queryRows), batch * heads],
    },
  ];
}

export function attentionBackwardPlan(
  device: CudaDevice,
  q: Tensor,
  k: Tensor,
  v: Tensor,
  out: Tensor,
  logSumExp: Tensor,
  firstKey: Tensor | undefined,
  dOut: Tensor,
  dq: Tensor,
  dk: Tensor,
  dv: Tensor,
  accumulate: number,
  ...problem: ProblemArguments
): readonly CudaStep[] {
  const sizes = problemOf(problem);
  const { batch, heads, queries, keys } = sizes;
  const flash = flashTilesOf(device, q, sizes);
  if (!flash) checkWidth(sizes);
  const numbers = argumentsFor(problem);
  const data = [q, k, v, dOut, logSumExp, scratch, firstKey];
  const forQueries = { block, arguments: [...data, dq, i64(accumulate), ...numbers] };
  const forKeys = { block, arguments: [...data, dk, dv, i64(accumulate), ...numbers] };
  const all = batch * heads;
  const delta: CudaLaunch = {
    ...{ function: 'attention_delta', block, workspace: 4 * logSumExp.size },
    grid: [Math.min(Math.ceil((all * queries) / 4), 16 * device.multiprocessors)],
    arguments: [out, dOut, scratch, firstKey, ...numbers],
  };
  if (!flash) {
    return [
      delta,
      { ...forQueries, function: 'attention_query_gradient_plain', grid: [queries, all] },
      { ...forKeys, function: 'attention_key_gradients_plain', grid: [keys, all] },
    ];
  }
  const { padded, sharedBytes } = flash;
  return [
    delta,
    {
      ...{ ...forQueries, function: `attention_query_gradient_${padded}`, sharedBytes: sharedBytes.queryGradient },
      grid: [Math.ceil(queries / queryRows), all],
    },
    {
      ...{ ...forKeys, function: `attention_key_gradients_${padded}`, sharedBytes: sharedBytes.keyGradients },
      grid: [Math.ceil(keys / keyRows), all],
    },
  ];
}
