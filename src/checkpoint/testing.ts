/** Helpers of this folder's tests: small checkpoints whose every byte follows from their iteration. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckpointTensor } from './draft.ts';
import type { CheckpointMeta } from './manifest.ts';
import type { Checkpoint } from './open.ts';

/** A folder of the test's own; `using` removes it. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'megatron-checkpoint-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function sampleMeta(iteration: number): CheckpointMeta {
  return {
    consumedSamples: iteration * 8,
    consumedTokens: iteration * 8 * 1024,
    architecture: { kind: 'gpt', numLayers: 2, hiddenSize: 8 },
    tokenizer: { type: 'ByteLevel', identity: 'ab'.repeat(32), vocabSize: 257 },
    trainingState: { learningRate: 1.5e-4 / iteration, lossScaler: { scale: 65536, goodSteps: iteration } },
  };
}

/** Element `index` of tensor number `tensor` at `iteration`. */
const sampleValue = (iteration: number, tensor: number, index: number): number =>
  iteration + tensor * 0.25 + index / 1024;

function sampleData(iteration: number, tensor: number, count: number): Uint8Array {
  return new Uint8Array(
    Float32Array.from({ length: count }, (_, index) => sampleValue(iteration, tensor, index)).buffer,
  );
}

export function sampleTensors(iteration: number): CheckpointTensor[] {
  const sizes: Record<string, number[]> = {
    'embedding.weight': [16, 8],
    'layers.0.weight': [8, 8],
    'layers.0.bias': [8],
    scale: [],
  };
  return Object.entries(sizes).map(([name, shape], tensor) => ({
    name,
    globalShape: shape,
    offset: shape.map(() => 0),
    shape,
    dtype: 'F32',
    kind: name === 'scale' ? 'optimizer' : 'model',
    data: () =>
      sampleData(
        iteration,
        tensor,
        shape.reduce((product, size) => product * size, 1),
      ),
  }));
}

/** Reads everything; throws unless every byte is that of the checkpoint's own iteration. */
export function assertSample(checkpoint: Checkpoint): void {
  const { iteration } = checkpoint.manifest;
  const expected = sampleTensors(iteration);
  if (
    checkpoint.names().join() !==
    expected
      .map((tensor) => tensor.name)
      .sort()
      .join()
  )
    throw new Error('tensors are missing');
  for (const tensor of expected) {
    if (Buffer.compare(checkpoint.read(tensor.name), tensor.data()) !== 0) {
      throw new Error(`tensor ${tensor.name} of iteration ${iteration} holds something else`);
    }
  }
  if (JSON.stringify(checkpoint.manifest.trainingState) !== JSON.stringify(sampleMeta(iteration).trainingState)) {
    throw new Error('the training state is another one');
  }
}
