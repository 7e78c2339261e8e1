/** The benchmark of products runs: sizes for the software CUDA, whose clock says nothing. */

import { expect, it } from 'vitest';
import { productBenchmark } from '../bench/gpu-products.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { describeOnGpus } from './support/gpus.ts';

describeOnGpus('the benchmark of products', () => {
  it('measures every product of a step, and its epilogues', { timeout: 300_000 }, () => {
    using engine = createCudaEngine();
    const { products, epilogues, steps } = productBenchmark(engine, { sizes: 'tiny' });
    expect(products.map(({ layer, kind }) => `${layer} ${kind}`)).toHaveLength(15);
    for (const { tflops, shareOfSquare, algorithms } of products) {
      expect(tflops.best).toBeGreaterThan(0);
      expect(shareOfSquare.best).toBeGreaterThan(0);
      expect(algorithms).toBeGreaterThan(0);
    }
    expect(epilogues.map(({ epilogue, fused }) => [epilogue, fused !== undefined])).toEqual([
      ['bias', true],
      ['gelu', true],
      ['geluSlope', true],
      ['sumsOfB', true],
    ]);
    expect(steps[0]?.milliseconds.best).toBeGreaterThan(0);
    expect(engine.memory.count().current).toBe(0);
  });
});
