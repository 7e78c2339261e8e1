/** A step on the meta engine counts what a run on a real engine counts, to the byte. */

import { beforeAll, describe, expect, it } from 'vitest';
import { launch } from '../src/comm/launch.ts';
import { selfCommunicator } from '../src/comm/self.ts';
import { noCpuEngine } from './support/engines.ts';
import { describeOnGpus } from './support/gpus.ts';
import trainAndCount, { type PeaksFound } from './support/ranks/expected-memory.rank.ts';
import type { RunOptions } from './support/tiny-run.ts';

/** Three updates of two micro-batches on each data rank, with evaluation. */
const shared: RunOptions = { trainIters: 3, evalInterval: 2, evalIters: 1, split: '8,1,1', vocabSize: 301 };

const runs: Record<string, RunOptions> = {
  'a small model': {},
  'a wide one': { hiddenSize: 96, numAttentionHeads: 4, seqLength: 37, vocabSize: 2011 },
  'a deep one': { numLayers: 7, hiddenSize: 48, numAttentionHeads: 4, seqLength: 64 },
  'without dropout': { attentionDropout: 0, hiddenDropout: 0 },
  'documents apart': { resetAttentionMask: true, resetPositionIds: true },
  'selective recomputation': { recomputeGranularity: 'selective' },
  'full recomputation': { numLayers: 5, recomputeGranularity: 'full', recomputeNumLayers: 2 },
  'full recomputation of some layers': {
    ...{ numLayers: 5, recomputeGranularity: 'full', recomputeMethod: 'block', recomputeNumLayers: 3 },
  },
  bf16: { bf16: true, hiddenSize: 96, numAttentionHeads: 4 },
  'bf16 with full recomputation': { bf16: true, numLayers: 4, recomputeGranularity: 'full' },
  fp16: { fp16: true, hiddenSize: 48 },
  'bf16 and the tanh GELU': { bf16: true, openaiGelu: true, hiddenSize: 96, numAttentionHeads: 4 },
  'the plain-TypeScript engine': { device: 'reference' },
};
const names = Object.keys(runs);

describe.skipIf(noCpuEngine).each([
  [1, 1],
  [2, 1],
  [1, 2],
  [2, 2],
])('a rank at T = %d, D = %d', (tensor, data) => {
  let ranks: readonly PeaksFound[][] = [];
  beforeAll(async () => {
    const module = new URL('./support/ranks/expected-memory.rank.ts', import.meta.url);
    const layout = { nprocPerNode: tensor * data, tensorModelParallelSize: tensor, globalBatchSize: 4 * data };
    const all = names.map((name) => ({ ...shared, ...layout, ...runs[name] }));
    ranks = await launch<PeaksFound[]>(tensor * data, module, all, { threadsPerRank: 1 });
  });

  it.each(names)('%s', (name) => {
    for (const rank of ranks) {
      const { measured, expected } = rank[names.indexOf(name)] as PeaksFound;
      const { held } = measured;
      const { workspace } = measured.byKind;
      expect(measured).toEqual({ ...expected, byKind: { ...expected.byKind, workspace }, held });
      // reductions between threads list their addresses beside what is in use: a block of 512 bytes at a time, of which a few are
      // held, some in the memory of the steps and some not
      const alone = tensor * data === 1;
      expect(alone ? [0] : [0, 512]).toContain(workspace - expected.byKind.workspace);
      expect(alone ? [0] : [0, 512, 1024, 1536]).toContain(held - expected.held);
    }
  });
});

describeOnGpus('a rank', () => {
  // what kernels borrow there depends on the GPU, and is counted too
  it.each(['documents apart', 'bf16 with full recomputation', 'bf16 and the tanh GELU'])(
    '%s',
    { timeout: 300_000 },
    async (name) => {
      const options: RunOptions = { ...shared, ...runs[name], trainIters: 1, evalInterval: 1, device: 'cuda' };
      const [found] = await trainAndCount(selfCommunicator(), [options], { stopRequested: false });
      expect(found?.measured.byKind.workspace).toBeGreaterThan(0);
      expect(found?.measured).toEqual(found?.expected);
    },
  );
});
