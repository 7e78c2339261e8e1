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

/** Widths that heads are padded to by flash attention, and how many keys its forward pass takes at once; see cuda.cu. */
const flashWidths = [
  { padded: 64, keyStep: 64 },
  { padded: 96, keyStep: 64 },
  { padded: 128, keyStep: 32 },
] as const;
/** Queries of a block: 32 for each warp. */
const forwardRows = 128;
/** With fewer queries most of a tile would be padding. */
const fewestQueries = 16;

/** The tiles for a problem; undefined where the plain kernels must do. */
function flashWidthOf(device: CudaDevice, q: Tensor, { width, queries }: AttentionProblem) {
  const possible = isHalf(q.dtype) && device.architecture >= 80 && queries >= fewestQueries;
  return possible ? flashWidths.find(({ padded }) => width <= padded) : undefined;
}

/** Bytes of a tile of `rows` rows in shared memory; see `pitchOf` of tiles.cuh. */
const tileBytes = (rows: number, padded: number): number => 2 * rows * (padded + 8);

const argumentsFor = (problem: ProblemArguments): CudaArgument[] =>
  problem.map((value, index): CudaArgument => {
    const kind = problemParameters[index];
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
  const flash = flashWidthOf(device, q, sizes);
  if (!flash) {
    checkWidth(sizes);
    return [{ ...common, function: 'attention_forward_plain', grid: [queries, batch * heads] }];
  }
  const { padded, keyStep } = flash;
  return [
    {
      ...{
        ...common,
        function: `attention_forward_${padded}`,
        sharedBytes: tileBytes(forwardRows + 4 * keyStep, padded),
      },
      grid: [Math.ceil(queries / forwardRows), batch * heads],
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
  checkWidth(sizes);
  const { batch, heads, queries, keys } = sizes;
  const numbers = argumentsFor(problem);
  const data = [q, k, v, dOut, logSumExp, scratch, firstKey];
  return [
    {
      ...{ function: 'attention_delta', block, workspace: 4 * logSumExp.size },
      grid: [Math.min(Math.ceil((batch * heads * queries) / 4), 16 * device.multiprocessors)],
      arguments: [out, dOut, scratch, firstKey, ...numbers],
    },
    {
      ...{ function: 'attention_query_gradient_plain', grid: [queries, batch * heads], block },
      arguments: [...data, dq, i64(accumulate), ...numbers],
    },
    {
      ...{ function: 'attention_key_gradients_plain', grid: [keys, batch * heads], block },
      arguments: [...data, dk, dv, i64(accumulate), ...numbers],
    },
  ] satisfies readonly CudaLaunch[];
}
