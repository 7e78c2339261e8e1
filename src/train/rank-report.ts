/** What each rank holds: expected at the start, measured at the end. */

import { formatBytes, formatInteger } from '../base/format.ts';
import type { GptModel } from '../model/gpt.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { sizeOf } from '../tensor/shape.ts';
import { type PeakMemory, peakOf } from './expected-memory.ts';

const inBytes = (bytes: number): string => formatBytes(bytes, { binary: true });

function peakWords({ total, byKind }: PeakMemory): string {
  const kinds = (['parameters', 'gradients', 'optimizer', 'activations'] as const).map(
    (kind) => `${kind} ${inBytes(byKind[kind])}`,
  );
  return `peak ${inBytes(total)} (${kinds.join(', ')})`;
}

/** What every rank will take: all of a layout take the same. */
export function expectedMemory(peak: PeakMemory, { parameters }: GptModel, { world }: RankGrid): string {
  if (world.size === 1) return `memory: expected ${peakWords(peak)}`;
  const own = parameters.all.reduce((sum, { paddedShape }) => sum + sizeOf(paddedShape), 0);
  return `memory of each rank: expected ${peakWords(peak)}, ${formatInteger(own)} parameters`;
}

/** One line a rank: peaks by kind, and the time spent in collectives. Collective. */
export function measuredMemory({ world, tensor, data }: RankGrid, { memory }: Engine): string[] {
  const seconds = new Set([world, tensor, data]).values().reduce((sum, group) => sum + group.statistics.seconds, 0);
  return world.exchange(
    `rank ${world.rank}: measured ${peakWords(peakOf(memory))}, in collectives ${seconds.toFixed(2)} s`,
  );
}
