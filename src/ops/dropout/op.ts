/** Dropout, and the residual add it is fused with. */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError, UsageError } from '../../base/errors.ts';
import type { Counter } from '../../tensor/counter.ts';
import type { RandomSite } from '../../tensor/philox.ts';
import { expectShape, lastOf, sizeOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { columnSums } from '../linear/kernels.ts';
import { biasDropoutAddForward, dropoutApply } from './kernels.ts';

/** Which elements are dropped: a function of the global position alone (design: randomness). */
export interface DropoutAt extends RandomSite {
  /** Share of elements dropped, 0 ≤ p < 1. */
  readonly probability: number;
  /**
   * Global number, in the whole run, of the sample in the first row. Where a step is recorded once and done again, a tensor: a
   * number would drop the same elements each time.
   */
  readonly firstSample: Counter;
}

/** What a tape must keep of a counter. */
export const counterTensors = (counter: Counter): readonly Tensor[] => (typeof counter === 'number' ? [] : [counter]);

/** Samples are the first dimension. */
function rowsOfSamples(x: Tensor, at: DropoutAt): { samples: number; elements: number } {
  const [samples] = x.shape;
  if (samples === undefined) throw new ShapeError('dropout: needs a first dimension of samples');
  if (!(at.probability >= 0 && at.probability < 1)) {
    throw new UsageError(`dropout: the probability must be in [0, 1), got ${at.probability}`);
  }
  return { samples, elements: sizeOf(x.shape.slice(1)) };
}

/**
 * @param x [b, ...]: one sample per row of the first dimension.
 * @returns the shape of x; a copy of x where p is 0.
 */
export function dropout(x: Tensor, at: DropoutAt): Tensor {
  const { engine } = x;
  const { samples, elements } = rowsOfSamples(x, at);
  const { probability, seed, site, firstSample } = at;
  return runOperator({
    name: 'dropout',
    inputs: [x],
    shape: x.shape,
    saved: counterTensors(firstSample),
    forward: (y) => {
      if (probability === 0) y.copyFrom(x);
      else dropoutApply(engine, x, y, samples, elements, probability, seed, site, firstSample, 0);
    },
    backward: (dy, gradients) => {
      if (probability === 0) return gradients.pass(x, dy);
      gradients.into(x, (dx, accumulate) =>
        dropoutApply(engine, dy, dx, samples, elements, probability, seed, site, firstSample, accumulate ? 1 : 0),
      );
    },
  });
}

/**
 * residual + dropout(x + bias): the tail of each half of a transformer layer, in one pass.
 *
 * @param x [b, ..., h]
 * @param bias [h], of the float type
 * @param residual the shape of x
 * @returns the shape of x
 */
export function biasDropoutAdd(x: Tensor, bias: Tensor | undefined, residual: Tensor, at: DropoutAt): Tensor {
  const { engine } = x;
  const width = lastOf(x.shape);
  const { samples, elements } = rowsOfSamples(x, at);
  expectShape('biasDropoutAdd', 'residual', residual.shape, x.shape);
  if (bias) expectShape('biasDropoutAdd', 'bias', bias.shape, [width]);
  const { probability, seed, site, firstSample } = at;
  return runOperator({
    name: 'biasDropoutAdd',
    inputs: [x, bias, residual],
    shape: x.shape,
    saved: counterTensors(firstSample),
    forward: (y) =>
      biasDropoutAddForward(
        engine,
        x,
        bias,
        residual,
        y,
        samples,
        elements,
        width,
        probability,
        seed,
        site,
        firstSample,
      ),
    backward: (dy, gradients) => {
      using masked = probability === 0 ? undefined : Tensor.empty(engine, x.shape, { dtype: x.dtype });
      if (masked) dropoutApply(engine, dy, masked, samples, elements, probability, seed, site, firstSample, 0);
      const dx = masked ?? dy;
      if (bias) {
        gradients.into(bias, (dBias, accumulate) => {
          if (!accumulate) dBias.fill(0);
          columnSums(engine, dx, dBias, x.size / width, width);
        });
      }
      gradients.pass(x, dx);
      gradients.pass(residual, dy);
    },
  });
}
