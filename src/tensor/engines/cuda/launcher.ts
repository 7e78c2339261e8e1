/** Runs launch plans: arguments are checked against the functions' own parameters, and written where the driver reads them. */

import { EngineError, messageOf } from '../../../base/errors.ts';
import type { CudaDataType } from '../../../ffi/cuda/cublas-lt.ts';
import type { CudaDriver } from '../../../ffi/cuda/driver.ts';
import { addressOf } from '../../../ffi/native.ts';
import type { CachingAllocator } from '../../allocator.ts';
import type { Counter } from '../../counter.ts';
import { isHalf } from '../../dtype.ts';
import { type Kernel, type KernelArgument, valueTypeOf } from '../../kernel.ts';
import { type CudaArgument, type CudaDevice, type CudaLaunch, type CudaStep, workspaceOf } from '../../launch.ts';
import { Tensor } from '../../tensor.ts';
import type { FunctionLoader, LoadedFunction } from './functions.ts';
import type { Products } from './products.ts';

const usualBlock = 256;
/** Blocks of the usual grid for each multiprocessor: all are resident at once. */
const blocksEach = 8;
const mostParameters = 64;
/** Bytes between arguments: the widest is a `Counter`. */
const argumentBytes = 16;

export interface LauncherParts {
  readonly driver: CudaDriver;
  readonly stream: bigint;
  readonly device: CudaDevice;
  readonly functions: FunctionLoader;
  readonly products: Products;
  readonly memory: CachingAllocator;
  /** Whether to wait after every step, so that an error names the kernel that made it. */
  readonly synchronous: boolean;
}

export type Launcher = (kernel: Kernel, values: readonly KernelArgument[]) => void;

export function createLauncher(parts: LauncherParts): Launcher {
  const { driver, stream, device, functions, products, memory, synchronous } = parts;
  const encode = argumentWriter();

  const launch = (step: CudaLaunch, valueType: CudaDataType, workspace: bigint): void => {
    const [x, y = 1, z = 1] = step.grid;
    if (x === 0 || y === 0 || z === 0) return; // nothing to do
    const found = functions.get(step.function, valueType);
    const shared = step.sharedBytes ?? 0;
    found.allowShared(shared);
    const place = encode(step, found, workspace);
    driver.cuLaunchKernel(found.handle, x, y, z, step.block, 1, 1, shared, stream, place, null);
  };

  const run = (steps: readonly CudaStep[], valueType: CudaDataType, workspace: bigint): void => {
    for (const step of steps) {
      if ('product' in step) products.run(step.product);
      else if ('fill' in step) step.fill.fill(step.value);
      else if ('fused' in step) {
        const fused = products.fuse(step.fused, step.epilogue, workspace);
        run(fused ? step.before : step.otherwise, valueType, workspace);
        fused?.();
      } else launch(step, valueType, workspace);
    }
  };

  return (kernel, values) => {
    const valueType = valueTypeOf(kernel, values, 'f32') as CudaDataType;
    const steps = kernel.cuda?.(device, ...values) ?? defaultPlan(kernel, values, device);
    const bytes = workspaceOf(steps);
    // given back at once: whoever gets it next writes to it on the same stream, after these steps
    const block = bytes > 0 ? memory.allocate(bytes, 'workspace') : undefined;
    try {
      run(steps, valueType, block?.address ?? 0n);
      if (synchronous) driver.cuStreamSynchronize(stream);
    } catch (error) {
      if (!synchronous) throw error;
      throw new EngineError(`${kernel.name} on the GPU: ${messageOf(error)}; ${describeCall(steps, values)}`, {
        cause: error,
      });
    } finally {
      if (block) memory.release(block, 'workspace');
    }
  };
}

/** One launch with the kernel's own arguments, a thread for each element of the largest tensor; functions loop over more. */
function defaultPlan(kernel: Kernel, values: readonly KernelArgument[], device: CudaDevice): readonly CudaStep[] {
  const size = values.reduce<number>((most, value) => (value instanceof Tensor ? Math.max(most, value.size) : most), 0);
  const blocks = Math.min(Math.ceil(size / usualBlock), blocksEach * device.multiprocessors);
  const given = values.map((value, index): CudaArgument => {
    const kind = kernel.parameters[index];
    if (kind === 'counter') return { counter: value as Counter };
    if (typeof value !== 'number') return value;
    return kind === 'int' ? { i64: value } : kind === 'uint32' ? { u32: value } : { f32: value };
  });
  return [{ function: kernel.name, grid: [blocks], block: usualBlock, arguments: given }];
}

/** Writes arguments where the driver finds them: it wants an array of pointers to them, and copies what they point to. */
function argumentWriter(): (step: CudaLaunch, found: LoadedFunction, workspace: bigint) => BigUint64Array {
  const values = new DataView(new ArrayBuffer(argumentBytes * mostParameters));
  const pointers = new BigUint64Array(mostParameters);
  for (let i = 0; i < mostParameters; i++) pointers[i] = addressOf(values) + BigInt(argumentBytes * i);
  return (step, { parameters }, workspace) => {
    if (step.arguments.length !== parameters.length) {
      throw new EngineError(
        `${step.function} takes ${parameters.length} arguments, its plan gives ${step.arguments.length}`,
      );
    }
    for (let i = 0; i < parameters.length; i++) {
      const argument = step.arguments[i];
      const written = writeArgument(values, argumentBytes * i, argument, workspace);
      if (written !== parameters[i]) {
        throw new EngineError(
          `${step.function}: argument ${i} is ${written} in its plan and ${parameters[i]} in its source`,
        );
      }
    }
    return pointers; // itself, not its address: nothing else keeps it
  };
}

function writeArgument(values: DataView, at: number, argument: CudaArgument, workspace: bigint): string {
  if (argument === undefined || 'address' in argument || 'workspace' in argument) {
    // a tensor has an address too
    const address =
      argument === undefined ? 0n : 'address' in argument ? argument.address : workspace + BigInt(argument.workspace);
    values.setBigUint64(at, address, true);
    return 'pointer';
  }
  if ('counter' in argument) {
    const { counter } = argument;
    values.setBigInt64(at, typeof counter === 'number' ? BigInt(counter) : 0n, true);
    values.setBigUint64(at + 8, typeof counter === 'number' ? 0n : counter.address, true);
    return 'counter';
  }
  if ('i64' in argument) {
    values.setBigInt64(at, BigInt(argument.i64), true);
    return 'i64';
  }
  if ('i32' in argument) {
    values.setInt32(at, argument.i32, true);
    return 'i32';
  }
  if ('u32' in argument) {
    values.setUint32(at, argument.u32, true);
    return 'u32';
  }
  values.setFloat32(at, argument.f32, true);
  return 'f32';
}

function describeCall(steps: readonly CudaStep[], values: readonly KernelArgument[]): string {
  const launches = steps.map((step) =>
    'function' in step
      ? `${step.function} [${step.grid.join(', ')}] × ${step.block}`
      : 'fill' in step
        ? 'fill'
        : `product${'fused' in step ? ` with ${step.epilogue.kind}` : ''}`,
  );
  const given = values.map((value) =>
    value instanceof Tensor
      ? `${isHalf(value.dtype) ? `${value.dtype} ` : ''}[${value.shape.join(', ')}]`
      : String(value),
  );
  return `${launches.join(', ')} of (${given.join(', ')})`;
}
