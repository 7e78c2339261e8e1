/** One forward and backward pass through most operators, large enough that kernels split it over threads. */

import { Tape } from '../../src/autograd/tape.ts';
import { crossEntropy } from '../../src/ops/cross-entropy/op.ts';
import { biasDropoutAdd } from '../../src/ops/dropout/op.ts';
import { embedding } from '../../src/ops/embedding/op.ts';
import { gelu } from '../../src/ops/gelu/op.ts';
import { layerNorm } from '../../src/ops/layer-norm/op.ts';
import { softmax } from '../../src/ops/softmax/op.ts';
import { weightedSum } from '../../src/ops/weighted-sum/op.ts';
import { createCpuEngine } from '../../src/tensor/engines/cpu.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { integers, numbers } from './numbers.ts';

export interface TrainingResult {
  readonly loss: number;
  readonly gradients: readonly (readonly number[])[];
}

/** Everything but matrix products, whose libraries promise less. */
export async function trainOnce(threads: number): Promise<TrainingResult> {
  using engine = await createCpuEngine({ threads });
  return engine.scope(() => {
    const [b, s, h, v] = [3, 67, 257, 101];
    const leaf = (key: number, shape: readonly number[], offset = 0): Tensor =>
      Tensor.from(engine, numbers({ shape, key, offset }), shape, { requiresGrad: true });
    const table = leaf(1, [v, h]);
    const [gamma, beta, bias] = [leaf(2, [h], 1), leaf(3, [h]), leaf(4, [h])];
    const ids = Tensor.from(engine, integers(b * s, 5, v), [b, s], { dtype: 'i32' });
    const labels = Tensor.from(engine, integers(b * s, 6, h), [b, s], { dtype: 'i32' });
    const weights = Tensor.from(engine, numbers({ shape: [b, s], key: 7 }), [b, s]);
    using tape = new Tape(engine);
    const x = embedding(ids, table);
    const y = gelu(layerNorm(x, gamma, beta));
    const z = biasDropoutAdd(softmax(y), bias, x, { probability: 0.1, seed: 1, site: 2, firstSample: 3 });
    const loss = weightedSum(crossEntropy(z, labels), weights);
    tape.backward(loss);
    const gradients = [table, gamma, beta, bias].map(({ grad }) => grad?.toArray() ?? []);
    return { loss: loss.item(), gradients };
  });
}
