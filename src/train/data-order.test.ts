import { expect, it } from 'vitest';
import type { Checkpoint } from '../checkpoint/index.ts';
import { pretrainGptCommand } from '../config/pretrain-gpt.ts';
import { changedOrderWords, dataOrderRecord } from './data-order.ts';

const configure = (dataPath: readonly string[], more = {}) =>
  pretrainGptCommand.configure({ dataPath, tokenizerType: 'ByteLevel', ...more }).config;

it('tells other data, weights and masks, but not another folder', () => {
  const trainingState = { dataOrder: dataOrderRecord(configure(['0.3', '/old/books', '0.7', '/old/news'])) };
  const checkpoint = { manifest: { trainingState } } as unknown as Checkpoint;
  const words = (...options: Parameters<typeof configure>) => changedOrderWords(checkpoint, configure(...options));
  const moved = ['0.3', 'new/books', '0.7', 'new/news'];
  expect(words(moved)).toBeUndefined();
  expect(words(['0.5', 'books', '0.5', 'news'])).toContain(
    'data-path: checkpoint 0.3 books 0.7 news, command line 0.5 books 0.5 news',
  );
  expect(words(['0.3', 'books', '0.7', 'poems'])).toContain('command line 0.3 books 0.7 poems');
  expect(words(moved, { eodMaskLoss: true })).toContain('eod-mask-loss: checkpoint false, command line true');
});
