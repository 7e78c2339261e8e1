/** GELU in its two forms, and their derivatives (Hendrycks & Gimpel 2016). */

import { bytesOf } from '../../tensor/cost.ts';
import { defineKernel } from '../../tensor/kernel.ts';

/** The exact form x·Φ(x), and GPT-2's tanh approximation (`--openai-gelu`). The numbers cross to C++. */
export const geluForms = { erf: 1, tanh: 2 } as const;
export type GeluForm = keyof typeof geluForms;

const rootTwoOverPi = Math.sqrt(2 / Math.PI);
const cubicTerm = 0.044715;

/** erf to double precision: series near zero, continued fraction in the tails. */
export function erf(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude > 6) return Math.sign(x);
  if (magnitude < 2.5) {
    // erf x = 2/√π · Σ (−1)ⁿ x²ⁿ⁺¹ / (n! (2n+1)), summed with all-positive terms: e^{−x²} Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!
    let term = magnitude;
    let sum = term;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * magnitude * magnitude) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-magnitude * magnitude) * sum;
  }
  // erfc x = e^{−x²}/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …))))
  let fraction = magnitude;
  for (let n = 60; n >= 1; n--) fraction = magnitude + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-magnitude * magnitude) / (Math.sqrt(Math.PI) * fraction));
}

export function gelu(x: number, form: number): number {
  if (form === geluForms.erf) return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
  return 0.5 * x * (1 + Math.tanh(rootTwoOverPi * (x + cubicTerm * x * x * x)));
}

export function geluDerivative(x: number, form: number): number {
  if (form === geluForms.erf) {
    return 0.5 * (1 + erf(x * Math.SQRT1_2)) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
  }
  const tanh = Math.tanh(rootTwoOverPi * (x + cubicTerm * x * x * x));
  return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * rootTwoOverPi * (1 + 3 * cubicTerm * x * x);
}

/** y = gelu(x), element by element. */
export const geluForward = defineKernel('gelu_forward', ['values', 'values', 'int', 'int'], (x, y, size, form) => {
  for (let i = 0; i < size; i++) y[i] = gelu(x[i] as number, form);
});

/** dx = dy · gelu′(x), added to dx when the last argument is 1. dx may be dy. */
export const geluBackward = defineKernel(
  'gelu_backward',
  ['values', 'values', 'values', 'int', 'int', 'int'],
  (dy, x, dx, size, form, accumulate) => {
    for (let i = 0; i < size; i++) {
      const value = (dy[i] as number) * geluDerivative(x[i] as number, form);
      dx[i] = accumulate ? (dx[i] as number) + value : value;
    }
  },
  { cost: (dy, x, dx, _size, _form, accumulate) => ({ bytes: bytesOf(dy, x, dx, accumulate && dx) }) },
);
