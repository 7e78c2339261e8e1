/** Linear layers y = x·Wᵀ + b, plain, with bias and GELU in one pass behind the product, or with GELU before it. */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError } from '../../base/errors.ts';
import { isHalf } from '../../tensor/dtype.ts';
import type { GradientSink } from '../../tensor/engine.ts';
import { expectShape, formatShape, lastOf, rowsOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type GeluForm, geluForms } from '../gelu/kernels.ts';
import { gelu } from '../gelu/op.ts';
import { matrixProduct } from '../matmul/kernels.ts';
import { addBias, biasGeluBackward, biasGeluForward, columnSums, linearForward, productGeluSlope } from './kernels.ts';

interface LinearShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
}

function shapeOf(x: Tensor, weight: Tensor, bias: Tensor | undefined): LinearShape {
  const inputs = lastOf(x.shape);
  const [outputs] = weight.shape;
  if (weight.shape.length !== 2 || weight.shape[1] !== inputs || outputs === undefined) {
    throw new ShapeError(`linear: weight ${formatShape(weight.shape)} does not take an input ${formatShape(x.shape)}`, {
      remedy: 'The weight must be [outputs, inputs], inputs being the last size of x.',
    });
  }
  if (bias) expectShape('linear', 'bias', bias.shape, [outputs]);
  return { rows: rowsOf(x.shape), inputs, outputs };
}

/** dW = dyᵀ·x. */
function weightGradient(dy: Tensor, x: Tensor, weight: Tensor, shape: LinearShape, gradients: GradientSink): void {
  const { rows, inputs, outputs } = shape;
  gradients.into(weight, (dWeight, accumulate) =>
    matrixProduct(x.engine, dy, x, dWeight, outputs, inputs, rows, 1, 0, accumulate ? 1 : 0),
  );
}

/** dx = dy·W and dW = dyᵀ·x. */
function productGradients(dy: Tensor, x: Tensor, weight: Tensor, shape: LinearShape, gradients: GradientSink): void {
  const { rows, inputs, outputs } = shape;
  const { engine } = x;
  weightGradient(dy, x, weight, shape, gradients);
  gradients.into(x, (dx, accumulate) =>
    matrixProduct(engine, dy, weight, dx, rows, inputs, outputs, 0, 0, accumulate ? 1 : 0),
  );
}

/** Calls `add` with a tensor to add the bias's gradient to. */
function biasGradient(bias: Tensor, gradients: GradientSink, add: (dBias: Tensor) => void): void {
  gradients.into(bias, (dBias, accumulate) => {
    if (!accumulate) dBias.fill(0);
    add(dBias);
  });
}

/**
 * @param x [..., i]
 * @param weight [o, i]
 * @param bias [o]
 * @returns [..., o]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const shape = shapeOf(x, weight, bias);
  const { rows, inputs, outputs } = shape;
  const { engine } = x;
  return runOperator({
    name: 'linear',
    inputs: [x, weight, bias],
    shape: [...x.shape.slice(0, -1), outputs],
    saved: [x, weight],
    forward: (y) => linearForward(engine, x, weight, bias, y, rows, outputs, inputs),
    backward: (dy, gradients) => {
      if (bias) biasGradient(bias, gradients, (dBias) => columnSums(engine, dy, dBias, rows, outputs));
      productGradients(dy, x, weight, shape, gradients);
    },
  });
}

/**
 * gelu(u + b) in one pass, which reads u and the bias again in its backward pass. That overwrites u with its gradient (unless
 * u is a leaf, or another backward pass reads it); reading u after backward is an error of the caller.
 *
 * @param u [..., o]
 * @param bias [o]
 * @returns [..., o]
 */
export function biasGelu(u: Tensor, bias: Tensor, form: GeluForm = 'erf'): Tensor {
  const { engine } = u;
  const width = lastOf(u.shape);
  const rows = rowsOf(u.shape);
  const code = geluForms[form];
  expectShape('biasGelu', 'bias', bias.shape, [width]);
  return runOperator({
    name: 'biasGelu',
    inputs: [u, bias],
    shape: u.shape,
    saved: [u, bias],
    forward: (y) => biasGeluForward(engine, u, bias, y, rows, width, code),
    backward: (dy, gradients) => {
      using scratch = gradients.wants(bias) ? undefined : Tensor.zeros(engine, [width], { kind: 'workspace' });
      using own = gradients.mayOverwrite(u) ? undefined : Tensor.empty(engine, u.shape, { dtype: u.dtype });
      const du = own ?? u;
      const run = (dBias: Tensor): void => biasGeluBackward(engine, dy, u, bias, du, dBias, rows, width, code);
      if (scratch) run(scratch);
      else biasGradient(bias, gradients, run);
      gradients.pass(u, du);
    },
  });
}

/**
 * gelu(x·Wᵀ + b); only x and x·Wᵀ are kept.
 *
 * @param x [..., i]
 * @param weight [o, i]
 * @param bias [o]
 * @returns [..., o]
 */
export function linearGelu(x: Tensor, weight: Tensor, bias: Tensor, form: GeluForm = 'erf'): Tensor {
  using u = linear(x, weight);
  return biasGelu(u, bias, form);
}

/**
 * gelu(u)·Wᵀ, for a u that has its bias already. u and gelu(u) are kept, as by the two operators one after the other; but the
 * gradient of u comes from one kernel, in which GELU's slope may ride on the product.
 *
 * @param u [..., i]
 * @param weight [o, i]
 * @returns [..., o]
 */
export function geluLinear(u: Tensor, weight: Tensor, form: GeluForm = 'erf'): Tensor {
  const shape = shapeOf(u, weight, undefined);
  const { rows, inputs, outputs } = shape;
  const { engine } = u;
  const code = geluForms[form];
  // not on the tape, for its gradient is never made
  using active = engine.withoutRecording(() => gelu(u, form)); // [..., i]
  return runOperator({
    name: 'geluLinear',
    inputs: [u, active, weight],
    shape: [...u.shape.slice(0, -1), outputs],
    saved: [u, active, weight],
    forward: (y) => linearForward(engine, active, weight, undefined, y, rows, outputs, inputs),
    backward: (dy, gradients) => {
      weightGradient(dy, active, weight, shape, gradients);
      if (!gradients.wants(u)) return;
      using du = Tensor.empty(engine, u.shape, { dtype: u.dtype });
      productGeluSlope(engine, dy, weight, u, du, rows, inputs, outputs, code);
      gradients.pass(u, du);
    },
  });
}

/**
 * Whether `geluLinear` after a product with bias is less work than `biasGelu`: where cuBLASLt takes GELU's slope. It
 * knows the tanh form alone, and rows of 8 numbers; on float32 it would gain nothing.
 *
 * Its GELU epilogue of the product before is left out: it would take GELU of numbers that are not rounded yet, which no
 * recomputation from the rounded ones could repeat to the last bit.
 */
export const slopeRidesOnProduct = ({ engine, dtype }: Tensor, width: number, form: GeluForm): boolean =>
  engine.name === 'cuda' && isHalf(dtype) && form === 'tanh' && width % 8 === 0;

/**
 * x + b, for a bias that must come after something else: the reduction of a row-parallel product, say.
 *
 * @param x [..., o]
 * @param bias [o]
 * @returns [..., o]
 */
export function biasAdd(x: Tensor, bias: Tensor): Tensor {
  const { engine } = x;
  const width = lastOf(x.shape);
  const rows = rowsOf(x.shape);
  expectShape('biasAdd', 'bias', bias.shape, [width]);
  return runOperator({
    name: 'biasAdd',
    inputs: [x, bias],
    shape: x.shape,
    forward: (y) => {
      y.copyFrom(x);
      addBias(engine, y, bias, rows, width);
    },
    backward: (dy, gradients) => {
      biasGradient(bias, gradients, (dBias) => columnSums(engine, dy, dBias, rows, width));
      gradients.pass(x, dy);
    },
  });
}
