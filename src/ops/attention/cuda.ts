/** How attention runs on a GPU: flash attention on tensor cores for 16-bit tiles, plain kernels for the rest. */

import { EngineError } from '../../base/errors.ts';
import { isHalf } from '../../tensor/dtype.ts';
import type { AttentionVariant, CudaArgument, CudaDevice, CudaLaunch, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { i64, scratch } from '../native/cuda/plan.ts';
import { type AttentionProblem, type ProblemArguments, problemOf, problemParameters } from './problem.ts';

/** Four warps, in every kernel of cuda.cu. */
const block = 128;
/** The widest head that the plain kernels take: 32 · plainColumns of plain.cuh. */
const widestPlain = 256;
/** With fewer queries most of a tile would be padding. */
const fewestQueries = 16;

/** How a pass is launched: the rows that a block makes results for (queries, or keys), its threads and shared memory. */
interface Tiling {
  readonly rows: number;
  readonly threads: number;
  readonly sharedBytes: number;
}
/** Kernels for heads of up to `padded` channels, whose names end in `suffix`. */
interface FlashTiles {
  readonly padded: number;
  readonly suffix: string;
  readonly forward: Tiling;
  readonly queryGradient: Tiling;
  readonly keyGradients: Tiling;
}

/** Those of flash-*.cuh: 32 queries for each warp; `keyStep` keys of the forward pass, `queryStep` queries of keys' gradients at once. */
function warpTiles(padded: number, keyStep: number, queryStep: number): FlashTiles {
  const [queryRows, keyRows, gradientKeyStep] = [128, 64, 32];
  /** See `pitchOf` of tiles.cuh. */
  const bytes = (rows: number, columns = padded): number => 2 * rows * (columns + 8);
  return {
    ...{ padded, suffix: `${padded}` },
    // fixed tiles, and two stages of two tiles that come and go; for keys also probabilities and their gradients
    forward: { rows: queryRows, threads: block, sharedBytes: bytes(queryRows + 4 * keyStep) },
    queryGradient: { rows: queryRows, threads: block, sharedBytes: bytes(2 * queryRows + 4 * gradientKeyStep) },
    keyGradients: {
      ...{ rows: keyRows, threads: block },
      sharedBytes: bytes(2 * keyRows + 4 * queryStep) + bytes(2 * keyRows, queryStep),
    },
  };
}

/** Those of warpgroup-*.cuh: 64 rows for each warpgroup of a pass, and 64 partners at once. */
function warpgroupTiles(padded: number, forward: number, queryGradient: number, keyGradients: number): FlashTiles {
  const tiling = (warpgroups: number, fixedTiles: number): Tiling => ({
    ...{ rows: 64 * warpgroups, threads: 128 * warpgroups },
    // two stages of two tiles; and what the first tile's alignment takes
    sharedBytes: 2 * padded * 64 * (fixedTiles * warpgroups + 4) + tileAlignment,
  });
  return {
    ...{ padded, suffix: `wgmma_${padded}` },
    ...{ forward: tiling(forward, 1), queryGradient: tiling(queryGradient, 2), keyGradients: tiling(keyGradients, 2) },
  };
}
const tileAlignment = 1024;

/** The same numbers stand in cuda.cu and wgmma.cu. */
const flashTiles: Readonly<Record<AttentionVariant, readonly FlashTiles[]>> = {
  mma: [warpTiles(64, 64, 64), warpTiles(96, 64, 64), warpTiles(128, 32, 32)],
  wgmma: [warpgroupTiles(64, 2, 2, 3), warpgroupTiles(96, 2, 3, 2), warpgroupTiles(128, 3, 3, 2)],
};

/** The tiles for a problem; undefined where the plain kernels must do. */
function flashTilesOf(device: CudaDevice, { dtype }: Tensor, { width, queries }: AttentionProblem) {
  if (!isHalf(dtype) || device.architecture < 80 || queries < fewestQueries) return undefined;
  const tiles = flashTiles[device.attention].find(({ padded }) => width <= padded);
  if (!tiles) return undefined;
  const most = Math.max(...[tiles.forward, tiles.queryGradient, tiles.keyGradients].map((each) => each.sharedBytes));
  return most <= device.sharedBytesPerBlock ? tiles : undefined;
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

/** A block for every `rows` of `count` queries or keys of each sample's heads. */
function launchOf(name: string, suffix: string, { rows, threads, sharedBytes }: Tiling, count: number, all: number) {
  const grid = [Math.ceil(count / rows), all] as const;
  return { function: `${name}_${suffix}`, grid, block: threads, sharedBytes };
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
  return [{ ...common, ...launchOf('attention_forward', flash.suffix, flash.forward, queries, batch * heads) }];
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
  const { suffix, queryGradient, keyGradients } = flash;
  return [
    delta,
    { ...forQueries, ...launchOf('attention_query_gradient', suffix, queryGradient, queries, all) },
    { ...forKeys, ...launchOf('attention_key_gradients', suffix, keyGradients, keys, all) },
  ];
}
