/** The matrix product on a GPU: one call of cuBLASLt. */

import type { CudaDevice, CudaStep } from '../../tensor/launch.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export const matrixProductPlan = (
  _device: CudaDevice,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  ...[m, n, k, transposeA, transposeB, accumulate]: [number, number, number, number, number, number]
): readonly CudaStep[] => [
  {
    product: {
      ...{ a, b, c, m, n, k },
      ...{ transposeA: transposeA === 1, transposeB: transposeB === 1, accumulate: accumulate === 1 },
    },
  },
];
