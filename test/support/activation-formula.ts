/** The peak of activations from a formula over what the tape keeps: counted by hand, to hold against what is counted by running. */

import type { GptModel } from '../../src/model/gpt.ts';
import { roundUpSize } from '../../src/tensor/allocator.ts';

const bytesPerFloat = 4;

/**
 * Peak bytes of activations in a step, in float32, as the allocator counts them. For b·s tokens the tape keeps
 * - of each layer the inputs and outputs of both layer norms, whole on every rank (4h), and QKV, the attention's output and
 *   the MLP's wide layer before and after GELU, split ((4h + 2f)/t); the norms' statistics (4) and the attention's (n/t).
 *   Selective recomputation keeps neither the norms' outputs and statistics nor what GELU makes; full recomputation keeps only
 *   the input of a group of layers (h);
 * - of the ends the final layer norm's input and output (2h) and statistics (2), the logits (v/t), the loss and its statistics
 *   (3), and the batch itself (4).
 *
 * The peak comes either when the gradient of the final hidden state is made while the logits are still there (h), or in the
 * backward pass of an MLP: there are the gradients of its output (h) and of its wide layer (f/t) and, besides what is kept of
 * this and all earlier layers, what is computed again.
 */
export function expectedActivationBytes(model: GptModel, batch: number, sequence: number, ranks: number): number {
  const { numAttentionHeads: n, hiddenSize: h, ffnHiddenSize: f } = model.config;
  const v = model.output.weight.paddedShape[0] ?? 0; // this rank's columns
  const bytes = (perToken: number): number => roundUpSize(bytesPerFloat * batch * sequence * perToken);
  const always = 2 * bytes(h) + bytes((3 * h) / ranks) + bytes(h / ranks) + bytes(f / ranks) + bytes(n / ranks);
  const whole = always + 2 * bytes(h) + 4 * bytes(1) + bytes(f / ranks);
  const isSelective = model.recomputation.granularity === 'selective';
  const groups = model.layerGroups.map(({ first, end, recomputed }) => ({
    kept: recomputed ? bytes(h) : (end - first) * (isSelective ? always : whole),
    again: recomputed ? (end - first) * whole - bytes(h) : isSelective ? bytes(f / ranks) : 0,
  }));
  const constants = 4 * bytes(1);
  const ends = 2 * bytes(h) + 2 * bytes(1) + bytes(v) + bytes(1) + bytes(2);
  let kept = constants + groups.reduce((sum, group) => sum + group.kept, 0);
  let peak = kept + ends + bytes(h);
  for (const group of groups.toReversed()) {
    peak = Math.max(peak, kept + group.again + bytes(h) + bytes(f / ranks));
    kept -= group.kept;
  }
  return peak;
}
