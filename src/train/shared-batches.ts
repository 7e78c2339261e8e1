/** Micro-batches that one rank of a tensor group reads and all of them compute. */

import type { Communicator } from '../comm/communicator.ts';
import type { MicroBatch } from '../data/gpt/batches.ts';
import { counterWords, wordsCounter } from '../tensor/counter.ts';
import type { Engine } from '../tensor/engine.ts';
import { createReferenceEngine } from '../tensor/engines/reference.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { BatchStream } from './task.ts';

export interface SharedBatchOptions {
  readonly engine: Engine;
  readonly group: Communicator;
  /** Opens the source; called on the group's first rank alone. */
  readonly open: () => BatchStream<MicroBatch>;
  readonly microBatchSize: number;
  readonly seqLength: number;
  readonly consumedSamples: number;
  /** Samples that all ranks together draw with one micro-batch. */
  readonly samplesPerDraw: number;
  /** Whether batches carry `firstKey`. */
  readonly hasFirstKey: boolean;
}

/** The group's first rank reads, the others receive: [fields, b·s] ids in one broadcast. */
export function shareBatches(options: SharedBatchOptions): BatchStream<MicroBatch> {
  const { engine, group, microBatchSize, seqLength, samplesPerDraw, hasFirstKey } = options;
  if (group.size === 1) return options.open();
  const source = group.rank === 0 ? options.open() : undefined;
  const length = microBatchSize * seqLength;
  const fields = hasFirstKey ? 5 : 4;
  // batches are read and checked on the host: through a GPU's memory they would wait for all that it has begun
  const host = engine.backend.name === 'cuda' ? createReferenceEngine() : engine;
  let { consumedSamples } = options;
  return {
    get consumedSamples() {
      return consumedSamples;
    },
    next() {
      using packed = Tensor.empty(host, [fields * length + 2], { dtype: 'i32', kind: 'workspace' });
      if (source) packed.write(pack(source.next(), length));
      group.broadcast(packed, 0);
      const data = packed.read() as Int32Array;
      consumedSamples += samplesPerDraw;
      const field = (index: number): Int32Array => data.slice(index * length, (index + 1) * length);
      return {
        ...{ microBatchSize, seqLength, tokens: field(0), labels: field(1), positionIds: field(2) },
        lossMask: Float32Array.from(field(3)),
        firstKey: hasFirstKey ? field(4) : undefined,
        firstSample: wordsCounter(data[fields * length] ?? 0, data[fields * length + 1] ?? 0),
      };
    },
  };
}

function pack(batch: MicroBatch, length: number): Int32Array {
  const { tokens, labels, positionIds, lossMask, firstKey, firstSample } = batch;
  const parts = [tokens, labels, positionIds, lossMask, ...(firstKey ? [firstKey] : [])];
  const data = new Int32Array(parts.length * length + 2);
  parts.forEach((part, index) => {
    data.set(part, index * length);
  });
  data.set(counterWords(firstSample), parts.length * length);
  return data;
}
