/**
 * Loss scaling: in float16, gradients below 6·10⁻⁸ are lost and those above 65,504 are infinite. The loss is multiplied by a scale
 * before the backward pass, the gradients are divided by it before the update, and an update whose gradients overflowed is
 * skipped. Source: Micikevicius et al. 2018, §3.2; the rules of change are those of Megatron-LM's `DynamicGradScaler`.
 */

/** `window`: good updates in a row after which the scale doubles. `hysteresis`: overflows after which each one halves it. */
export type LossScaling =
  | { readonly kind: 'constant'; readonly scale: number }
  | {
      readonly kind: 'dynamic';
      readonly initial: number;
      readonly min: number;
      readonly window: number;
      readonly hysteresis: number;
    };

/** Where the scale stands; part of checkpoints, so that a resumed run goes on with the same scales. */
export interface LossScaleState {
  readonly kind: LossScaling['kind'];
  /** The loss of the next iteration is multiplied by it. */
  readonly scale: number;
  /** Good updates since the last overflow or growth. */
  readonly growthTracker: number;
  /** Overflows left before the scale is halved; may go below zero. Filled up again when the scale grows. */
  readonly hysteresisTracker: number;
  /** Overflows in a row at a scale that does not fall any more. */
  readonly stuck: number;
}

/** So many overflows in a row, at the lowest scale, do not come from the scale: the gradients themselves are infinite. */
export const mostOverflowsAtFloor = 20;

export function initialLossScale(scaling: LossScaling): LossScaleState {
  const [scale, hysteresisTracker] =
    scaling.kind === 'constant' ? [scaling.scale, 0] : [scaling.initial, scaling.hysteresis];
  return { kind: scaling.kind, scale, growthTracker: 0, hysteresisTracker, stuck: 0 };
}

/**
 * The scale after an iteration.
 *
 * @param overflowed whether a gradient was infinite or NaN, over all ranks
 */
export function nextLossScale(scaling: LossScaling, state: LossScaleState, overflowed: boolean): LossScaleState {
  const stuck = overflowed && state.scale <= lowestScale(scaling) ? state.stuck + 1 : 0;
  if (scaling.kind === 'constant') return { ...state, stuck };
  const { kind, scale } = state;
  if (overflowed) {
    const hysteresisTracker = state.hysteresisTracker - 1;
    const lower = hysteresisTracker <= 0 ? Math.max(scale / 2, scaling.min) : scale;
    return { kind, scale: lower, growthTracker: 0, hysteresisTracker, stuck };
  }
  const growthTracker = state.growthTracker + 1;
  if (growthTracker < scaling.window) return { ...state, growthTracker, stuck };
  return { kind, scale: scale * 2, growthTracker: 0, hysteresisTracker: scaling.hysteresis, stuck };
}

const lowestScale = (scaling: LossScaling): number => (scaling.kind === 'constant' ? scaling.scale : scaling.min);
