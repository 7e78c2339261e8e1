/** What a kernel has to do at the least: floating-point operations, and bytes between memory and processor. */

import { bytesPerElement } from './dtype.ts';
import type { Kernel, KernelArgument } from './kernel.ts';
import type { Tensor } from './tensor.ts';

export interface KernelCost {
  /** Of its matrix products, a multiply-add counting two; other arithmetic hides behind the memory. 0 where not given. */
  readonly flops?: number;
  /** Read and written; where not given every tensor once, which is wrong for what is read and written or read in part. */
  readonly bytes?: number;
}

export const byteLengthOf = (tensor: Tensor): number => tensor.size * bytesPerElement[tensor.dtype];

/** Bytes of the tensors, each as often as it stands there; 0 for what is none (`accumulate && y`, an optional tensor). */
export function bytesOf(...tensors: readonly (Tensor | number | undefined)[]): number {
  let bytes = 0;
  for (const tensor of tensors) if (typeof tensor === 'object') bytes += byteLengthOf(tensor);
  return bytes;
}

/** What a call of a kernel costs, as the kernel declares it or by default. */
export function costOf(kernel: Kernel, values: readonly KernelArgument[]): Required<KernelCost> {
  const { flops = 0, bytes = bytesOf(...values) } = kernel.cost?.(...values) ?? {};
  return { flops, bytes };
}
