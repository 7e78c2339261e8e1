/** AdamW over one flat buffer: many parameters, one pass (Loshchilov & Hutter 2019; decay decoupled, as in Megatron). */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';

/**
 * With g = gradient·gradientScale:  m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g²,
 * p ← p − decay·p − stepSize · m / (√v·inverseRoot + ε), where stepSize = lr/(1−β₁ᵗ), inverseRoot = 1/√(1−β₂ᵗ),
 * decay = lr·λ, or 0 where `decays` is 0. These four lie in memory, factors [4], since the gradient decides them: see
 * ops/update-factors. A gradientScale that is NaN means that nothing is to be updated. `copy` gets p, rounded to its type, for
 * the products of the next step. The complements 1−β come as arguments because float32 cannot form 1 − 0.999 well.
 */
export const adamWStep = defineKernel(
  'adamw_step',
  [
    ...(['floats', 'floats', 'floats', 'floats', 'values?', 'floats', 'int'] as const),
    ...(['float', 'float', 'float', 'float', 'float', 'int'] as const),
  ] as const,
  (p, gradient, m, v, copy, factors, size, beta1, oneMinusBeta1, beta2, oneMinusBeta2, epsilon, decays) => {
    const [gradientScale, stepSize, inverseRoot, rate] = factors as unknown as [number, number, number, number];
    if (Number.isNaN(gradientScale)) return;
    const decay = decays === 1 ? rate : 0;
    for (let i = 0; i < size; i++) {
      const g = (gradient[i] as number) * gradientScale;
      const first = beta1 * (m[i] as number) + oneMinusBeta1 * g;
      const second = beta2 * (v[i] as number) + oneMinusBeta2 * g * g;
      m[i] = first;
      v[i] = second;
      const value = p[i] as number;
      p[i] = value - decay * value - (stepSize * first) / (Math.sqrt(second) * inverseRoot + epsilon);
      if (copy) copy[i] = p[i] as number;
    }
  },
  { cost: (p, gradient, m, v, copy) => ({ bytes: 2 * bytesOf(p, m, v) + bytesOf(gradient, copy) }) },
);
