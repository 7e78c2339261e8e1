import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { expectSame } from '../../test/support/closeness.ts';
import { noCpuEngine } from '../../test/support/engines.ts';
import { type TrainingResult, trainOnce } from '../../test/support/training.ts';

function expectSameTraining(actual: TrainingResult, expected: TrainingResult, what: string): void {
  expect(actual.loss).toBe(expected.loss);
  for (const [i, gradient] of expected.gradients.entries()) {
    expectSame(actual.gradients[i] ?? [], gradient, `${what}: gradient ${i}`);
  }
}

const inWorker = (threads: number): Promise<TrainingResult> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('../../test/support/train-once-worker.ts', import.meta.url), {
      workerData: { threads },
    });
    worker.on('message', resolve);
    worker.on('error', reject);
  });

describe.skipIf(noCpuEngine)(`the cpu engine${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  it('gives the same bits on every run and for every number of threads', async () => {
    const expected = await trainOnce(1);
    expect(Number.isFinite(expected.loss)).toBe(true);
    for (const threads of [1, 2, 3, 5]) expectSameTraining(await trainOnce(threads), expected, `${threads} threads`);
  });

  it('works in several worker threads of one process at once', async () => {
    const expected = await trainOnce(2);
    const results = await Promise.all([inWorker(2), inWorker(1), inWorker(2), trainOnce(2)]);
    for (const [i, result] of results.entries()) expectSameTraining(result, expected, `worker ${i}`);
  });
});
