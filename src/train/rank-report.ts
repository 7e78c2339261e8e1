/** What each rank holds: expected at the start, measured at the end. */

import { formatBytes, formatInteger } from '../base/format.ts';
import type { GptModel } from '../model/gpt.ts';
import type { RankGrid } from '../parallel/grid.ts';
import type { Engine } from '../tensor/engine.ts';
import { sizeOf } from '../tensor/shape.ts';

const bytesPerFloat = 4;
const inBytes = (bytes: number): string => formatBytes(bytes, { binary: true });

/**
 * Bytes of activations that a forward pass keeps for backward, in float32: for each layer the inputs of both layer norms and
 * their outputs, whole on every rank (4bsh), and QKV, the attention's output, and the MLP's wide layer before and after
 * GELU, split (12bsh/t); then the final layer norm's input and output and the logits, split.
 */
export function expectedActivationBytes(model: GptModel, batch: number, sequence: number, ranks: number): number {
  const { numLayers, hiddenSize: h, ffnHiddenSize: f } = model.config;
  const columns = model.output.weight.paddedShape[0] ?? 0;
  const perLayer = 4 * h + (4 * h + 2 * f) / ranks;
  return bytesPerFloat * batch * sequence * (numLayers * perLayer + 2 * h + columns);
}

/** One line a rank: its place, its parameters, and the memory they and the activations will take. Collective. */
export function expectedMemory(grid: RankGrid, model: GptModel, batch: number, sequence: number): string[] {
  const own = model.parameters.all.reduce((sum, { paddedShape }) => sum + sizeOf(paddedShape), 0);
  const activations = expectedActivationBytes(model, batch, sequence, grid.tensor.size);
  const { tensor, data, world } = grid;
  const lines = world.exchange(
    `rank ${world.rank} (tensor ${tensor.rank}, data ${data.rank}): ${formatInteger(own)} parameters, ` +
      `with gradients ${inBytes(2 * own * bytesPerFloat)}, optimizer ${inBytes(2 * own * bytesPerFloat)}, ` +
      `activations about ${inBytes(activations)}`,
  );
  return lines;
}

/** One line a rank: peaks by kind, and the time spent in collectives. Collective. */
export function measuredMemory({ world, tensor, data }: RankGrid, engine: Engine): string[] {
  const peak = (kind: 'parameters' | 'gradients' | 'optimizer' | 'activations'): string =>
    `${kind} ${inBytes(engine.memory.count(kind).peak)}`;
  const seconds = new Set([world, tensor, data]).values().reduce((sum, group) => sum + group.statistics.seconds, 0);
  return world.exchange(
    `rank ${world.rank}: peak ${inBytes(engine.memory.count().peak)} ` +
      `(${peak('parameters')}, ${peak('gradients')}, ${peak('optimizer')}, ${peak('activations')}), ` +
      `in collectives ${seconds.toFixed(2)} s`,
  );
}
