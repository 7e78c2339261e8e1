/** Measures how fast the engine that a run would get multiplies matrices. */

import { createEngine, type EngineOptions } from '../../tensor/engines/select.ts';
import { matrixSizes, measureMatrixRate as ratePerSecond } from '../../train/profile/limits.ts';
import type { MatrixRate } from './findings.ts';

/**
 * The best of several products of two square f32 matrices.
 *
 * @throws EngineError where the engine cannot run.
 */
export async function measureMatrixRate(options: EngineOptions = {}): Promise<MatrixRate> {
  using engine = await createEngine(options);
  const n = matrixSizes[engine.name];
  return {
    by: engine.backend.description,
    gigaflopsPerSecond: ratePerSecond(engine, 'f32') / 1e9,
    problem: `f32, ${n} × ${n} × ${n}`,
  };
}
