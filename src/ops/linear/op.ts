/** Linear layers y = x·Wᵀ + b, plain or with a GELU fused behind the bias. */

import { runOperator } from '../../autograd/record.ts';
import { ShapeError } from '../../base/errors.ts';
import type { GradientSink } from '../../tensor/engine.ts';
import { expectShape, formatShape, lastOf, rowsOf } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type GeluForm, geluForms } from '../gelu/kernels.ts';
import { matrixProduct } from '../matmul/kernels.ts';
import { addBias, biasGeluBackward, biasGeluForward, columnSums } from './kernels.ts';

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

/** dx = dy·W and dW = dyᵀ·x. */
function productGradients(dy: Tensor, x: Tensor, weight: Tensor, shape: LinearShape, gradients: GradientSink): void {
  const { rows, inputs, outputs } = shape;
  const { engine } = x;
  gradients.into(weight, (dWeight, accumulate) =>
    matrixProduct(engine, dy, x, dWeight, outputs, inputs, rows, 1, 0, accumulate ? 1 : 0),
  );
  gradients.into(x, (dx, accumulate) =>
    matrixProduct(engine, dy, weight, dx, rows, inputs, outputs, 0, 0, accumulate ? 1 : 0),
  );
}

/** Calls `add` with a tensor to add the bias's gradient to. */
function biasGradient(bias: Tensor, gradients: GradientSink, add: (dBias: Tensor) => void): void {
  gradients.into(bias, (dBias, accumulate) => {
    if (!accumulate) dBias.data.fill(0);
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
    forward: (y) => {
      matrixProduct(engine, x, weight, y, rows, outputs, inputs, 0, 1, 0);
      if (bias) addBias(engine, y, bias, rows, outputs);
    },
    backward: (dy, gradients) => {
      if (bias) biasGradient(bias, gradients, (dBias) => columnSums(engine, dy, dBias, rows, outputs));
      productGradients(dy, x, weight, shape, gradients);
    },
  });
}

/**
 * gelu(x·Wᵀ + b) in one operator: the bias is added and the GELU taken in one pass, and only x and the sum before the
 * GELU are kept.
 *
 * @param x [..., i]
 * @param weight [o, i]
 * @param bias [o]
 * @returns [..., o]
 */
export function linearGelu(x: Tensor, weight: Tensor, bias: Tensor, form: GeluForm = 'erf'): Tensor {
  const shape = shapeOf(x, weight, bias);
  const { rows, inputs, outputs } = shape;
  const { engine } = x;
  const code = geluForms[form];
  using u = Tensor.empty(engine, [rows, outputs]);
  return runOperator({
    name: 'linearGelu',
    inputs: [x, weight, bias],
    shape: [...x.shape.slice(0, -1), outputs],
    saved: [x, weight, u],
    forward: (y) => {
      matrixProduct(engine, x, weight, u, rows, outputs, inputs, 0, 1, 0);
      biasGeluForward(engine, u, bias, y, rows, outputs, code);
    },
    backward: (dy, gradients) => {
      using scratch = gradients.wants(bias) ? undefined : Tensor.zeros(engine, [outputs], { kind: 'workspace' });
      // u is read for the last time here, so its memory takes du
      const run = (dBias: Tensor): void => biasGeluBackward(engine, dy, u, u, dBias, rows, outputs, code);
      if (scratch) run(scratch);
      else biasGradient(bias, gradients, run);
      productGradients(u, x, weight, shape, gradients);
    },
  });
}

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
      y.bytes.set(x.bytes);
      addBias(engine, y, bias, rows, width);
    },
    backward: (dy, gradients) => {
      biasGradient(bias, gradients, (dBias) => columnSums(engine, dy, dBias, rows, width));
      gradients.pass(x, dy);
    },
  });
}
