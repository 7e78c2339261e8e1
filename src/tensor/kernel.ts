/** Kernels: one declaration gives the native signature, the plain-TypeScript twin and a typed function to call. */

import { EngineError } from '../base/errors.ts';
import type { DType, Floats, TensorData } from './dtype.ts';
import type { Engine } from './engine.ts';
import type { Tensor } from './tensor.ts';

/** What a parameter of a kernel may be. A trailing `?` allows undefined, a null pointer on the native side. */
export type ParameterKind = 'floats' | 'floats?' | 'ids' | 'ids?' | 'halves' | 'int' | 'uint32' | 'float';

/** The value a caller passes for each kind. */
type CallValue<Kind> = Kind extends 'floats' | 'ids' | 'halves'
  ? Tensor
  : Kind extends 'floats?' | 'ids?'
    ? Tensor | undefined
    : number;

/** What the plain-TypeScript kernel receives for each kind. */
type ReferenceValue<Kind> = Kind extends 'floats'
  ? Floats
  : Kind extends 'floats?'
    ? Floats | undefined
    : Kind extends 'ids'
      ? Int32Array
      : Kind extends 'ids?'
        ? Int32Array | undefined
        : Kind extends 'halves'
          ? Uint16Array
          : number;

type CallValues<Kinds extends readonly ParameterKind[]> = { -readonly [I in keyof Kinds]: CallValue<Kinds[I]> };
type ReferenceValues<Kinds extends readonly ParameterKind[]> = {
  -readonly [I in keyof Kinds]: ReferenceValue<Kinds[I]>;
};

export type KernelArgument = Tensor | number | undefined;

/** What an engine needs to run a kernel. */
export interface Kernel {
  /** Name of the native function. */
  readonly name: string;
  readonly parameters: readonly ParameterKind[];
  readonly reference: (...values: (TensorData | number | undefined)[]) => void;
}

/** Launches the kernel on an engine. */
export type KernelCall<Kinds extends readonly ParameterKind[]> = (engine: Engine, ...values: CallValues<Kinds>) => void;

/**
 * Declares a kernel. The native function is `void name(const Context*, …)` with the parameters in the same order, in a
 * `cpu.cpp` of the operator's folder: floats → float*, ids → int32_t*, halves → uint16_t*, int → int64_t,
 * uint32 → uint32_t, float → float.
 *
 * @param reference the same in plain TypeScript, for float32 and float64 arrays.
 */
export function defineKernel<const Kinds extends readonly ParameterKind[]>(
  name: string,
  parameters: Kinds,
  reference: (...values: ReferenceValues<Kinds>) => void,
): KernelCall<Kinds> {
  const kernel: Kernel = { name, parameters, reference: reference as Kernel['reference'] };
  return (engine, ...values) => {
    const given = values as KernelArgument[];
    for (let i = 0; i < parameters.length; i++) checkArgument(kernel, i, given[i], engine);
    engine.backend.run(kernel, given);
  };
}

/** Native code checks nothing, so a wrong dtype or a tensor of another engine is caught here. */
function checkArgument(kernel: Kernel, index: number, value: KernelArgument, engine: Engine): void {
  const kind = kernel.parameters[index];
  if (typeof value === 'number') return;
  if (value === undefined) {
    if (kind?.endsWith('?')) return;
    throw new EngineError(`${kernel.name}: argument ${index} is missing`);
  }
  const fits: Record<string, readonly DType[]> = {
    floats: [engine.floatType],
    'floats?': [engine.floatType],
    ids: ['i32'],
    'ids?': ['i32'],
    halves: ['bf16', 'f16'],
  };
  if (value.engine !== engine) throw new EngineError(`${kernel.name}: argument ${index} belongs to another engine`);
  if (!fits[kind ?? '']?.includes(value.dtype)) {
    throw new EngineError(`${kernel.name}: argument ${index} is ${value.dtype}, not fit for ${kind}`);
  }
}
