/** Reductions and copies between native addresses of several ranks; the twin of cpu.cpp. */

import { EngineError } from '../../base/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Engine } from '../../tensor/engine.ts';
import type { Kernel } from '../../tensor/kernel.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { ReduceOperation } from '../communicator.ts';

/** The numbers cross to C++. */
const typeNumbers: Record<DType, number> = { f32: 1, bf16: 2, i32: 3, f64: 4, f16: 5 };
const reductionNumbers: Record<ReduceOperation, number> = { sum: 1, max: 2 };

/** Addresses mean nothing to plain TypeScript, so these kernels have no reference twin. */
const nativeOnly = (): never => {
  throw new EngineError('ranks share native memory on the cpu engine only');
};
const reduceKernel: Kernel = {
  name: 'reduce_between_ranks',
  parameters: ['ids', 'int', 'int', 'int', 'int', 'int', 'int', 'int'],
  takesValues: false,
  reference: nativeOnly,
};
const copyKernel: Kernel = {
  name: 'copy_between_ranks',
  parameters: ['ids', 'int', 'int'],
  takesValues: false,
  reference: nativeOnly,
};

/** Whether tensors of this engine have addresses that other ranks can read. */
export const sharesMemory = (engine: Engine): boolean => engine.name === 'cpu' && !engine.backend.device;

export interface NativeReduction {
  readonly sources: readonly bigint[];
  readonly destinations: readonly bigint[];
  /** First element. */
  readonly sourceBegin: number;
  readonly destinationBegin: number;
  readonly count: number;
  readonly dtype: DType;
  readonly operation: ReduceOperation;
}

/** Every destination becomes the reduction of all sources, in their order. */
export function reduceNative(engine: Engine, reduction: NativeReduction): void {
  const { sources, destinations, sourceBegin, destinationBegin, count, dtype, operation } = reduction;
  if (count <= 0) return;
  using addresses = addressTensor(engine, [...sources, ...destinations]);
  engine.backend.run(reduceKernel, [
    ...[addresses, sources.length, destinations.length, sourceBegin, destinationBegin, count],
    ...[typeNumbers[dtype], reductionNumbers[operation]],
  ]);
}

/** Copies of `bytes` bytes each. */
export function copyNative(engine: Engine, copies: readonly { from: bigint; to: bigint }[], bytes: number): void {
  const needed = copies.filter(({ from, to }) => from !== to);
  if (needed.length === 0 || bytes === 0) return;
  using addresses = addressTensor(
    engine,
    needed.flatMap(({ from, to }) => [from, to]),
  );
  engine.backend.run(copyKernel, [addresses, needed.length, bytes]);
}

/** Kernels take tensors and numbers; so the addresses become a tensor of 32-bit halves. */
function addressTensor(engine: Engine, addresses: readonly bigint[]): Tensor {
  const tensor = Tensor.empty(engine, [addresses.length * 2], { dtype: 'i32', kind: 'workspace' });
  const { buffer, byteOffset } = tensor.data;
  new BigUint64Array(buffer, byteOffset, addresses.length).set(addresses);
  return tensor;
}
