/** What kernels declare of their operations and bytes is what they do. */

import { describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.ts';
import { paddedVocabSize } from '../src/model/config.ts';
import { attention } from '../src/ops/attention/op.ts';
import { biasDropoutAdd } from '../src/ops/dropout/op.ts';
import { embedding } from '../src/ops/embedding/op.ts';
import { layerNorm } from '../src/ops/layer-norm/op.ts';
import { linear } from '../src/ops/linear/op.ts';
import { matrixProduct } from '../src/ops/matmul/kernels.ts';
import { weightedSum } from '../src/ops/weighted-sum/op.ts';
import type { Engine } from '../src/tensor/engine.ts';
import { createReferenceEngine } from '../src/tensor/engines/reference.ts';
import { Tensor } from '../src/tensor/tensor.ts';
import { gptLossSum } from '../src/train/gpt-loss.ts';
import { type KernelFacts, SpanRecorder } from '../src/train/profile/spans.ts';
import { modelFlopsPerToken } from '../src/train/report/flops.ts';
import { integers, numbers } from './support/numbers.ts';
import { tinyBatches, tinyModel } from './support/tiny-gpt.ts';

const float = 4; // bytes

/** Kernels of what `body` does, by name, those of one name added up. */
function costsOf(body: (engine: Engine) => void): Map<string, Pick<KernelFacts, 'flops' | 'bytes'>> {
  using engine = createReferenceEngine();
  const recorder = new SpanRecorder();
  recorder.begin(engine);
  engine.scope(() => body(engine));
  const costs = new Map<string, { flops: number; bytes: number }>();
  for (const { name, kernel } of recorder.take()) {
    if (!kernel) continue;
    const { flops, bytes } = costs.get(name) ?? { flops: 0, bytes: 0 };
    costs.set(name, { flops: flops + kernel.flops, bytes: bytes + kernel.bytes });
  }
  return costs;
}

const flopsOf = (costs: ReturnType<typeof costsOf>): number =>
  costs.values().reduce((sum, { flops }) => sum + flops, 0);

const leaf = (engine: Engine, shape: readonly number[], key: number): Tensor =>
  Tensor.from(engine, numbers({ shape, key }), shape, { requiresGrad: true });

/** Runs an operator and its backward pass. */
function withBackward(engine: Engine, output: () => Tensor): void {
  using tape = new Tape(engine);
  const y = output();
  tape.backward(weightedSum(y, Tensor.from(engine, numbers({ shape: y.shape, key: 9 }), y.shape)));
}

describe('the declared cost', () => {
  it('of a matrix product is 2mnk, and its operands and result, read once more where it adds', () => {
    const [m, n, k] = [5, 7, 11];
    const product = (accumulate: number) =>
      costsOf((engine) => {
        const [a, b, c] = [m * k, k * n, m * n].map((size, key) => leaf(engine, [size], key)) as [
          ...[Tensor, Tensor, Tensor],
        ];
        matrixProduct(engine, a, b, c, m, n, k, 0, 0, accumulate);
      });
    const [plain, adding] = [0, 1].map((accumulate) => [...product(accumulate).values()][0]);
    expect(plain).toEqual({ flops: 2 * m * n * k, bytes: float * (m * k + k * n + m * n) });
    expect(adding).toEqual({ flops: 2 * m * n * k, bytes: float * (m * k + k * n + 2 * m * n) });
  });

  it('of a linear layer, forward and backward, is 6 · rows · inputs · outputs', () => {
    const [rows, inputs, outputs] = [6, 10, 14];
    const costs = costsOf((engine) => {
      const [x, weight, bias] = [leaf(engine, [rows, inputs], 1), leaf(engine, [outputs, inputs], 2)].concat(
        leaf(engine, [outputs], 3),
      ) as [Tensor, Tensor, Tensor];
      withBackward(engine, () => linear(x, weight, bias));
    });
    expect(flopsOf(costs)).toBe(6 * rows * inputs * outputs);
  });

  it.each([
    { causal: false, share: 1 },
    { causal: true, share: 0.5 },
  ])('of attention is 4 · b · n · d · s² forward and twice that backward, causal $causal', ({ causal, share }) => {
    const [b, s, n, d] = [2, 12, 3, 8];
    const costs = costsOf((engine) => {
      const qkv = leaf(engine, [b, s, 3 * n * d], 1);
      withBackward(engine, () => attention(qkv, { heads: n, causal }));
    });
    const [hidden, statistics] = [float * b * s * n * d, float * b * n * s];
    expect(costs.get('attention_forward')).toEqual({
      flops: share * 4 * b * n * d * s * s,
      bytes: 4 * hidden + statistics, // q, k, v → out
    });
    expect(costs.get('attention_backward')).toEqual({
      flops: share * 8 * b * n * d * s * s,
      bytes: 8 * hidden + statistics, // q, k, v, out, dOut → dq, dk, dv
    });
  });

  it('of a layer norm counts what is added to as read and written', () => {
    const [rows, width] = [6, 16];
    const costs = costsOf((engine) => {
      const [gamma, beta] = [leaf(engine, [width], 2), leaf(engine, [width], 3)];
      const x = leaf(engine, [rows, width], 1);
      withBackward(engine, () => layerNorm(x, gamma, beta));
    });
    const [whole, row, column] = [float * rows * width, float * width, float * rows];
    expect(costs.get('layer_norm_forward')?.bytes).toBe(2 * whole + 2 * row + 2 * column);
    // dy, x → dx; γ; means and deviations; dγ and dβ, added to
    expect(costs.get('layer_norm_backward')?.bytes).toBe(3 * whole + 5 * row + 2 * column);
  });

  it('of an embedding is that of the rows it looks up, not of the table', () => {
    const [rows, width, entries] = [6, 16, 1000];
    const costs = costsOf((engine) => {
      const table = leaf(engine, [entries, width], 1);
      const ids = Tensor.from(engine, integers(rows, 2, entries), [rows], { dtype: 'i32' });
      withBackward(engine, () => embedding(ids, table));
    });
    expect(costs.get('embedding_forward')?.bytes).toBe(4 * rows + 2 * float * rows * width);
    expect(costs.get('embedding_backward')?.bytes).toBe(4 * rows + 3 * float * rows * width);
  });

  it('of dropout and a residual addition is every tensor once', () => {
    const [rows, width] = [6, 16];
    const costs = costsOf((engine) => {
      const [x, residual] = [leaf(engine, [1, rows, width], 1), leaf(engine, [1, rows, width], 2)];
      const at = { probability: 0.1, seed: 1, site: 2, firstSample: 0 };
      biasDropoutAdd(x, leaf(engine, [width], 3), residual, at);
    });
    expect(costs.get('bias_dropout_add_forward')?.bytes).toBe(float * (3 * rows * width + width));
  });

  it("of a whole GPT's forward and backward pass is its model FLOPs", () => {
    const [microBatchSize, sequenceLength] = [2, 40];
    let expected = 0;
    const costs = costsOf((engine) => {
      const model = tinyModel(engine);
      using parameters = model.parameters;
      const batch = tinyBatches({ microBatchSize, seqLength: sequenceLength }, 'train', 0).next();
      using tape = new Tape(engine);
      tape.backward(gptLossSum(engine, model, batch, true));
      const { numLayers, hiddenSize } = model.config;
      const shape = { numLayers, hiddenSize, sequenceLength, vocabularySize: paddedVocabSize(model.config) };
      expected = modelFlopsPerToken(shape) * microBatchSize * sequenceLength;
      expect(parameters.count).toBeGreaterThan(0);
    });
    expect(flopsOf(costs)).toBe(expected);
  });
});
