/** The number format that a run computes in, and how its loss is scaled. */

import type { Checkpoint, JsonObject } from '../checkpoint/index.ts';
import type { FormatOptions, PrecisionOptions } from '../config/precision.ts';
import type { LossScaleState, LossScaling } from '../optim/loss-scale.ts';
import type { HalfType } from '../tensor/dtype.ts';

export type PrecisionName = 'fp32' | 'bf16' | 'fp16';

export interface Precision {
  readonly name: PrecisionName;
  /** Of activations and of the copies of matrices; the engine's float type where not given. */
  readonly computeType?: HalfType;
  /** Without it the loss is not scaled, and a gradient that is no number is a divergence. */
  readonly lossScaling?: LossScaling;
}

export const fullPrecision: Precision = { name: 'fp32' };

/** The format alone: for a model that is not trained. */
export function formatOf({ bf16, fp16 }: FormatOptions): Precision {
  if (bf16) return { name: 'bf16', computeType: 'bf16' };
  return fp16 ? { name: 'fp16', computeType: 'f16' } : fullPrecision;
}

/** Megatron's rule: a constant scale where one is given, one that adapts with fp16, none otherwise. */
export function precisionOf(options: PrecisionOptions): Precision {
  const format = formatOf(options);
  const { lossScale, initialLossScale: initial, minLossScale: min, lossScaleWindow: window, hysteresis } = options;
  if (lossScale !== undefined) return { ...format, lossScaling: { kind: 'constant', scale: lossScale } };
  if (!options.fp16) return format;
  return { ...format, lossScaling: { kind: 'dynamic', initial, min, window, hysteresis } };
}

/** For the first line of a run. */
export function precisionWords({ name, lossScaling }: Precision): string {
  if (name === 'fp32') return 'float32 throughout';
  const what = `${name} activations and products, float32 weights, gradients and optimizer`;
  if (!lossScaling) return what;
  const { kind } = lossScaling;
  return `${what}, ${kind === 'constant' ? `loss scale ${lossScaling.scale}` : `loss scale from ${lossScaling.initial} on`}`;
}

/** What checkpoints keep of it. */
export const precisionRecord = (precision: Precision, lossScale: LossScaleState | undefined): JsonObject => ({
  precision: precision.name,
  lossScale: lossScale ? { ...lossScale } : null,
});

/** The scale's state in a checkpoint; undefined where it has none, or none that goes with this kind of scaling. */
export function savedLossScale({ manifest }: Checkpoint, scaling: LossScaling | undefined): LossScaleState | undefined {
  const saved = manifest.trainingState['lossScale'] as unknown as LossScaleState | null | undefined;
  if (!saved || saved.kind !== scaling?.kind) return undefined;
  // a constant is as the options say, not as they once did
  return scaling.kind === 'constant' ? { ...saved, scale: scaling.scale } : saved;
}

/** A sentence on what changed since the checkpoint; undefined where nothing did. Any change works: checkpoints keep float32. */
export function changedPrecisionWords(checkpoint: Checkpoint, precision: Precision): string | undefined {
  const saved = checkpoint.manifest.trainingState['precision'] ?? fullPrecision.name;
  if (saved !== precision.name) {
    const scale = precision.lossScaling ? '; the loss scale begins anew' : '';
    return `note: the checkpoint was trained in ${saved} and goes on in ${precision.name}${scale}`;
  }
  if (!precision.lossScaling || savedLossScale(checkpoint, precision.lossScaling)) return undefined;
  return `note: the checkpoint has no ${precision.lossScaling.kind} loss scale; it begins anew`;
}
