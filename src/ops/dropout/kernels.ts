/** Dropout whose mask is a function of the global position, so it is made again in backward instead of being stored. */

import { bytesOf } from '../../tensor/cost.ts';
import type { Floats } from '../../tensor/dtype.ts';
import { defineKernel } from '../../tensor/kernel.ts';
import { dropoutRule, type RandomSite, randomBits16 } from '../../tensor/philox.ts';

/** Calls `visit(i, factor)` for the elements of one sample; the factor is 0 where dropped, else 1/(1 − p). */
function forEachDropout(
  at: RandomSite,
  sample: number,
  elements: number,
  probability: number,
  visit: (index: number, factor: number) => void,
): void {
  const { threshold, scale } = dropoutRule(probability);
  const words = new Uint32Array(4);
  const bits = new Uint16Array(8);
  for (let first = 0; first < elements; first += 8) {
    randomBits16(at, sample, first / 8, words, bits);
    const count = Math.min(8, elements - first);
    for (let i = 0; i < count; i++) visit(first + i, (bits[i] as number) < threshold ? 0 : scale);
  }
}

/**
 * y = x ∘ mask / (1 − p), added to y when `accumulate` is 1. x [samples, elements]; row r is the sample with global number
 * firstSample + r. Its own derivative: backward is the same call on the gradients.
 */
export const dropoutApply = defineKernel(
  'dropout_apply',
  ['values', 'values', 'int', 'int', 'float', 'uint32', 'uint32', 'counter', 'int'],
  (x, y, samples, elements, probability, seed, site, firstSample, accumulate) => {
    for (let row = 0; row < samples; row++) {
      forEachDropout({ seed, site }, firstSample + row, elements, probability, (i, factor) => {
        const at = row * elements + i;
        const value = factor === 0 ? 0 : (x[at] as number) * factor; // a dropped NaN is gone too
        y[at] = accumulate ? (y[at] as number) + value : value;
      });
    }
  },
  { cost: (x, y, ...numbers) => ({ bytes: bytesOf(x, y, numbers[6] && y) }) },
);

/** y = residual + (x + bias) ∘ mask / (1 − p). x [samples, elements], bias [width], width dividing elements. */
export const biasDropoutAddForward = defineKernel(
  'bias_dropout_add_forward',
  ['values', 'floats?', 'values', 'values', 'int', 'int', 'int', 'float', 'uint32', 'uint32', 'counter'],
  (x, bias, residual, y, samples, elements, width, probability, seed, site, firstSample) => {
    for (let row = 0; row < samples; row++) {
      forEachDropout({ seed, site }, firstSample + row, elements, probability, (i, factor) => {
        const at = row * elements + i;
        const shift = bias ? ((bias as Floats)[i % width] as number) : 0;
        y[at] = (residual[at] as number) + (factor === 0 ? 0 : ((x[at] as number) + shift) * factor);
      });
    }
  },
);
