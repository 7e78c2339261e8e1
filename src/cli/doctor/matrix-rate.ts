/** Measures how fast the engine that a run would get multiplies matrices. */

import { matmul } from '../../ops/matmul/op.ts';
import type { Engine } from '../../tensor/engine.ts';
import { createEngine, type EngineOptions } from '../../tensor/engines/select.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { MatrixRate } from './findings.ts';

/** Large enough that the hardware decides; the plain-TypeScript engine gets what it does in a fraction of a second. */
const sizes: Readonly<Record<Engine['name'], number>> = { cpu: 1024, cuda: 4096, reference: 192 };

const measuringMilliseconds = 600;
const leastRounds = 3;

/**
 * The best of several products of two square f32 matrices, after one that is not counted (it fills caches and lets libraries compile).
 * The best, because whatever else the machine does can only slow a product down.
 *
 * @throws EngineError where the engine cannot run.
 */
export async function measureMatrixRate(options: EngineOptions = {}): Promise<MatrixRate> {
  using engine = await createEngine(options);
  const n = sizes[engine.name];
  const values = Float32Array.from({ length: n * n }, (_, index) => ((index * 7919) % 1000) / 1000 - 0.5);
  using a = Tensor.from(engine, values, [n, n]);
  using b = Tensor.from(engine, values, [n, n]);
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + measuringMilliseconds;
  for (let round = 0; round <= leastRounds || performance.now() < end; round++) {
    const start = performance.now();
    matmul(a, b)[Symbol.dispose]();
    engine.synchronize();
    if (round > 0) best = Math.min(best, performance.now() - start);
  }
  return {
    by: engine.backend.description,
    gigaflopsPerSecond: (2 * n ** 3) / (best * 1e6),
    problem: `f32, ${n} × ${n} × ${n}`,
  };
}
