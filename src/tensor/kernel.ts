/** Kernels: one declaration gives the native signature, the plain-TypeScript twin and a typed function to call. */

import { EngineError } from '../base/errors.ts';
import type { KernelCost } from './cost.ts';
import { type Counter, counterValue, isCounterTensor } from './counter.ts';
import { type DType, type Floats, isHalf, type TensorData } from './dtype.ts';
import type { Engine } from './engine.ts';
import type { CudaDevice, CudaStep } from './launch.ts';
import type { Tensor } from './tensor.ts';

/**
 * What a parameter of a kernel may be. A trailing `?` allows undefined, a null pointer on the native side.
 *
 * `floats` are of the engine's float type: parameters, statistics, sums. `values` are activations: of the float type or of
 * a 16-bit one, the same for all `values` of a call. A `counter` comes to native code as an int; on a GPU, where it may lie in a
 * tensor, as the struct `Counter` of ops/native/cuda.
 */
export type ParameterKind =
  | 'floats'
  | 'floats?'
  | 'values'
  | 'values?'
  | 'ids'
  | 'ids?'
  | 'int'
  | 'uint32'
  | 'float'
  | 'counter';

/** The value a caller passes for each kind. */
type CallValue<Kind> = Kind extends 'floats' | 'values' | 'ids'
  ? Tensor
  : Kind extends 'floats?' | 'values?' | 'ids?'
    ? Tensor | undefined
    : Kind extends 'counter'
      ? Counter
      : number;

/** What the plain-TypeScript kernel receives for each kind; 16-bit values come decoded, and go back rounded. */
type ReferenceValue<Kind> = Kind extends 'floats' | 'values'
  ? Floats
  : Kind extends 'floats?' | 'values?'
    ? Floats | undefined
    : Kind extends 'ids'
      ? Int32Array
      : Kind extends 'ids?'
        ? Int32Array | undefined
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
  /** Whether some parameter is `values`, so that native code has an instance for each of their types. */
  readonly takesValues: boolean;
  readonly reference: (...values: (TensorData | number | undefined)[]) => void;
  /** Undefined for one launch with the usual grid; see `defaultPlan` in engines/cuda. */
  readonly cuda?: ((device: CudaDevice, ...values: KernelArgument[]) => readonly CudaStep[]) | undefined;
  /** What a call costs, where the kernel says so; see `costOf`. */
  readonly cost?: ((...values: KernelArgument[]) => KernelCost) | undefined;
}

export interface KernelOptions<Kinds extends readonly ParameterKind[]> {
  /** What a call becomes on a GPU, where one launch over all elements is not it. */
  readonly cuda?: (device: CudaDevice, ...values: CallValues<Kinds>) => readonly CudaStep[];
  /** Operations and bytes of a call, where matrices are multiplied or not every tensor is touched once. */
  readonly cost?: (...values: CallValues<Kinds>) => KernelCost;
}

/** Launches the kernel on an engine. */
export type KernelCall<Kinds extends readonly ParameterKind[]> = (engine: Engine, ...values: CallValues<Kinds>) => void;

/**
 * Declares a kernel. The native function is `void name(const Context*, …)` with the parameters in the same order, in a
 * `cpu.cpp` of the operator's folder: floats → float*, ids → int32_t*, int and counter → int64_t, uint32 → uint32_t, float → float.
 * One that takes `values` is a function template over their type T, values → T*; see ops/native/elements.h.
 *
 * @param reference the same in plain TypeScript, for float32 and float64 arrays.
 */
export function defineKernel<const Kinds extends readonly ParameterKind[]>(
  name: string,
  parameters: Kinds,
  reference: (...values: ReferenceValues<Kinds>) => void,
  options: KernelOptions<Kinds> = {},
): KernelCall<Kinds> {
  const kernel: Kernel = {
    ...{ name, parameters, takesValues: parameters.some((kind) => isValues(kind)) },
    reference: reference as Kernel['reference'],
    cuda: options.cuda as Kernel['cuda'],
    cost: options.cost as Kernel['cost'],
  };
  const { takesValues } = kernel;
  return (engine, ...values) => {
    const given = withCounters(kernel, values as KernelArgument[], engine);
    const valueType = takesValues ? valueTypeOf(kernel, given, engine.floatType) : engine.floatType;
    for (let i = 0; i < parameters.length; i++) checkArgument(kernel, i, given[i], engine, valueType);
    const { observer } = engine;
    if (observer === undefined) engine.backend.run(kernel, given);
    else observer.during({ kind: 'kernel', kernel, values: given }, () => engine.backend.run(kernel, given));
  };
}

/** Native code for memory that JavaScript sees gets counters as numbers. */
function withCounters(kernel: Kernel, given: KernelArgument[], engine: Engine): KernelArgument[] {
  if (engine.backend.device) return given;
  for (let i = 0; i < given.length; i++) {
    const value = given[i];
    if (kernel.parameters[i] === 'counter' && typeof value === 'object') given[i] = counterValue(value);
  }
  return given;
}

const isValues = (kind: ParameterKind | undefined): boolean => kind === 'values' || kind === 'values?';

/** The type of a call's `values`: that of the first, or the engine's float type where none is given. */
export function valueTypeOf(kernel: Kernel, given: readonly KernelArgument[], floatType: DType): DType {
  for (let i = 0; i < given.length; i++) {
    const value = given[i];
    if (isValues(kernel.parameters[i]) && typeof value === 'object') return value.dtype;
  }
  return floatType;
}

function fits(kind: ParameterKind | undefined, value: Tensor, floatType: DType, valueType: DType): boolean {
  if (kind === 'counter') return isCounterTensor(value);
  if (isValues(kind)) return value.dtype === valueType && (valueType === floatType || isHalf(valueType));
  return value.dtype === (kind?.startsWith('ids') ? 'i32' : floatType);
}

/** Native code checks nothing, so a wrong dtype or a tensor of another engine is caught here. */
function checkArgument(kernel: Kernel, index: number, value: KernelArgument, engine: Engine, valueType: DType): void {
  const kind = kernel.parameters[index];
  if (typeof value === 'number') return;
  if (value === undefined) {
    if (kind?.endsWith('?')) return;
    throw new EngineError(`${kernel.name}: argument ${index} is missing`);
  }
  if (value.engine !== engine) throw new EngineError(`${kernel.name}: argument ${index} belongs to another engine`);
  if (!fits(kind, value, engine.floatType, valueType))
    throw new EngineError(`${kernel.name}: argument ${index} is ${value.dtype}, not fit for ${kind}`);
}
