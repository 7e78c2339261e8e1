import { expect, it } from 'vitest';
import type { Checkpoint, JsonObject } from '../checkpoint/index.ts';
import { gptConfig } from '../model/config.ts';
import { architectureRecord, modelOfCheckpoint } from './gpt-architecture.ts';

const sizes = { numLayers: 1, hiddenSize: 8, numAttentionHeads: 2, maxPositionEmbeddings: 4, vocabSize: 11 };
const record: JsonObject = architectureRecord(gptConfig(sizes));
const modelOf = (architecture: JsonObject) =>
  modelOfCheckpoint({ folder: 'saved', manifest: { architecture } } as unknown as Checkpoint);

it('gives the model of a checkpoint, and refuses one that it does not know', () => {
  expect(modelOf({ ...record, gelu: 'tanh' })).toMatchObject({ ...sizes, gelu: 'tanh', tiedEmbeddings: true });
  expect(() => modelOf({ ...record, gelu: 'swish' })).toThrow('has a gelu that is not known: "swish"');
  const { tiedEmbeddings: _, ...untold } = record;
  expect(() => modelOf(untold)).toThrow('does not say its tiedEmbeddings');
  expect(() => modelOf({ ...record, model: 'bert' })).toThrow('is of a model "bert", not gpt');
});
