/** What an operator does to take part in automatic differentiation. */

import { EngineError } from '../base/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { GradientSink } from '../tensor/engine.ts';
import type { Shape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Whether an operator on these inputs must be recorded: a tape is open and some input asks for a gradient. */
export function isTracked(inputs: readonly (Tensor | undefined)[]): boolean {
  const engine = inputs[0]?.engine;
  if (inputs.some((input) => input && input.engine !== engine)) {
    throw new EngineError('the inputs of an operator must belong to one engine');
  }
  return engine?.recorder !== undefined && inputs.some((input) => input?.requiresGrad);
}

export interface OperatorRecord {
  readonly name: string;
  /** Inputs that may ask for gradients. */
  readonly inputs: readonly (Tensor | undefined)[];
  readonly shape: Shape;
  /** Element type of the output; that of the first input where not given. */
  readonly dtype?: DType;
  /** Fills the output; not called where a recomputation has no use for it. */
  readonly forward: (output: Tensor) => void;
  /** Tensors that `backward` reads; the output itself is saved with `saveOutput`. */
  readonly saved?: readonly (Tensor | undefined)[];
  readonly saveOutput?: boolean;
  readonly backward: (outputGradient: Tensor, gradients: GradientSink, output: Tensor) => void;
}

/** Runs an operator with one float output, and records it where a tape asks for it. */
export function runOperator(operator: OperatorRecord): Tensor {
  const observer = operator.inputs.find((input) => input !== undefined)?.engine.observer;
  if (observer === undefined) return runAndRecord(operator);
  return observer.during({ kind: 'operator', name: operator.name, direction: 'forward' }, () => runAndRecord(operator));
}

function runAndRecord(operator: OperatorRecord): Tensor {
  const inputs = operator.inputs.filter((input) => input !== undefined);
  const [first] = inputs;
  if (!first) throw new EngineError(`${operator.name} has no tensor input`);
  const tracked = isTracked(inputs);
  const output = Tensor.empty(first.engine, operator.shape, {
    dtype: operator.dtype ?? first.dtype,
    requiresGrad: tracked,
  });
  if (!(tracked && first.engine.recorder?.outputsUnread)) operator.forward(output);
  if (tracked) {
    const saved = (operator.saved ?? []).filter((tensor) => tensor !== undefined);
    first.engine.recorder?.record({
      name: operator.name,
      inputs,
      output,
      saved: operator.saveOutput ? [...saved, output] : saved,
      backward: (outputGradient, gradients) => operator.backward(outputGradient, gradients, output),
    });
  }
  return output;
}
