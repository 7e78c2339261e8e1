/** Learning-rate schedules, as Megatron's optimizer parameter scheduler has them. */

export const lrDecayStyles = ['constant', 'linear', 'cosine', 'inverse-square-root', 'WSD'] as const;
export type LrDecayStyle = (typeof lrDecayStyles)[number];

export const wsdDecayStyles = ['linear', 'cosine', 'exponential', 'minus_sqrt'] as const;
export type WsdDecayStyle = (typeof wsdDecayStyles)[number];

export interface LearningRateSchedule {
  readonly lr: number;
  readonly minLr: number;
  readonly lrDecayStyle: LrDecayStyle;
  /** Iterations until the lowest rate, warm-up included. */
  readonly lrDecayIters: number;
  readonly lrWarmupIters: number;
  /** Iterations of the last phase of WSD. */
  readonly lrWsdDecayIters?: number | undefined;
  readonly lrWsdDecayStyle?: WsdDecayStyle;
}

/** Share of (lr − minLr) left when a share `progress` of the decay has passed. */
const decayCoefficients: Record<'linear' | 'cosine' | 'exponential' | 'minus_sqrt', (progress: number) => number> = {
  linear: (progress) => 1 - progress,
  cosine: (progress) => 0.5 * (Math.cos(Math.PI * progress) + 1),
  exponential: (progress) => 2 * 0.5 ** progress - 1,
  minus_sqrt: (progress) => 1 - Math.sqrt(progress),
};

/**
 * The learning rate of an update.
 *
 * @param iteration number of updates done before this one, plus one: the first update has iteration 1.
 */
export function learningRateAt(schedule: LearningRateSchedule, iteration: number): number {
  const { lr, minLr, lrDecayStyle: style, lrDecayIters, lrWarmupIters: warmup } = schedule;
  if (warmup > 0 && iteration <= warmup) return (lr * iteration) / warmup;
  if (style === 'constant') return lr;
  if (iteration > lrDecayIters) return minLr;
  if (style === 'inverse-square-root')
    return Math.max(minLr, (lr * Math.sqrt(Math.max(warmup, 1))) / Math.sqrt(iteration));
  if (style === 'WSD') {
    const length = schedule.lrWsdDecayIters ?? 0;
    const start = lrDecayIters - length;
    if (iteration <= start) return lr;
    return (
      minLr + decayCoefficients[schedule.lrWsdDecayStyle ?? 'exponential']((iteration - start) / length) * (lr - minLr)
    );
  }
  return minLr + decayCoefficients[style]((iteration - warmup) / (lrDecayIters - warmup)) * (lr - minLr);
}
