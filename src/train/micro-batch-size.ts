/** `--micro-batch-size auto`: as many samples at once as there is memory for. */

import { hostname } from 'node:os';
import { EngineError, UsageError } from '../base/errors.ts';
import { formatBytes } from '../base/format.ts';
import { availableMemory } from '../base/memory.ts';
import type { PretrainGptConfig } from '../config/pretrain-gpt.ts';
import type { GptConfig } from '../model/config.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { expectedPeak, type MemoryPlan, memoryPlanOf } from './expected-memory.ts';

/** What a rank takes besides its tensors: Node, the tokenizer, batches, scratch memory of libraries. Measured; see docs/memory.md. */
export const reserveBytes = 256 * 2 ** 20;

const inBytes = (bytes: number): string => formatBytes(bytes, { binary: true });

/**
 * Bytes that each rank may take: the ranks of a machine, or of a GPU, share what it has, and the rank with least decides for all.
 * Collective; call it before anything large is allocated.
 */
export function memoryForEachRank({ memoryLimit }: PretrainGptConfig, { world }: RankGrid, engine: Engine): number {
  const { gpu } = engine.backend;
  const place = gpu ? `${hostname()} GPU ${gpu.number}` : hostname();
  const all = world.exchange({ place, bytes: memoryLimit ?? engine.memory.available ?? availableMemory() });
  return Math.min(...all.map(({ place, bytes }) => bytes / all.filter((other) => other.place === place).length));
}

export interface MicroBatchChoice {
  readonly microBatchSize: number;
  /** What was chosen and why, in a line. */
  readonly words: string;
}

/**
 * The largest micro-batch that cuts a data-parallel rank's samples evenly and is expected to fit. It changes neither the
 * samples of an update nor their order, and every rank comes to the same.
 *
 * @param bytes that a rank may take
 * @throws EngineError when one sample does not fit, with what would help and how much.
 */
export function chooseMicroBatchSize(
  config: PretrainGptConfig,
  model: GptConfig,
  grid: RankGrid,
  engine: Engine,
  bytes: number,
): MicroBatchChoice {
  const samples = config.globalBatchSize / grid.data.size;
  const there = `${inBytes(bytes)}${grid.world.size > 1 ? ' for each rank' : ''}`;
  let best: { readonly size: number; readonly need: number } | undefined;
  for (let size = 1; size <= samples; size++) {
    if (samples % size !== 0) continue;
    const plan = memoryPlanOf({ ...config, microBatchSize: size }, model, grid, engine);
    const need = needOf(plan);
    if (need <= bytes) best = { size, need };
    else if (best) return choice(best, there, `${size} would need ${inBytes(need)}`);
    else throw tooLittle(plan, need, there);
  }
  if (!best)
    throw new UsageError(`a global batch of ${config.globalBatchSize} has nothing for each data-parallel rank`);
  return choice(best, there, 'all samples that a rank has of an update');
}

const needOf = (plan: MemoryPlan): number => expectedPeak(plan).held + reserveBytes;

const choice = (
  { size, need }: { readonly size: number; readonly need: number },
  there: string,
  why: string,
): MicroBatchChoice => ({
  microBatchSize: size,
  words: `micro-batch size ${size}: ${inBytes(need)} expected of ${there}; ${why}`,
});

function tooLittle(plan: MemoryPlan, need: number, there: string): EngineError {
  const ways = waysOut(plan);
  const all = Object.assign({}, plan, ...ways.map(({ change }) => change)) as MemoryPlan;
  const tried = [
    ...ways.map(({ words, change }) => `${inBytes(needOf({ ...plan, ...change }))} with ${words}`),
    ...(ways.length > 1 ? [`${inBytes(needOf(all))} with all of them`] : []),
  ];
  const instead = tried.length > 0 ? `It would take ${tried.join('; ')}. ` : '';
  return new EngineError(`one sample at a time takes ${inBytes(need)}, and there are ${there}`, {
    remedy: `${instead}Or use a smaller model or --seq-length, or make room.`,
  });
}

interface WayOut {
  readonly words: string;
  readonly change: Partial<MemoryPlan>;
}

/** What takes less memory and is not in use yet. */
function waysOut({ model, recomputation, computeType, tensorParallelSize }: MemoryPlan): WayOut[] {
  const ways: WayOut[] = [];
  if (recomputation?.granularity !== 'full') {
    const full = { granularity: 'full', method: 'uniform', numLayers: 1 } as const;
    ways.push({ words: '--recompute-granularity full', change: { recomputation: full } });
  }
  if (computeType === undefined) ways.push({ words: '--bf16', change: { computeType: 'bf16' } });
  const ranks = 2 * tensorParallelSize;
  if (model.numAttentionHeads % ranks === 0 && model.ffnHiddenSize % ranks === 0) {
    const words = `--tensor-model-parallel-size ${ranks} (on each rank)`;
    ways.push({ words, change: { tensorParallelSize: ranks } });
  }
  return ways;
}
