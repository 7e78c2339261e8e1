/** Log lines as Megatron-LM prints them, and FLOP counts against published figures. */

import { expect, test } from 'vitest';
import { hardwareFlopsPerToken, modelFlopsPerToken, palmFlopsPerToken } from './flops.ts';
import {
  formatArguments,
  formatMemoryLine,
  formatTrainingLine,
  formatValidationBlock,
  perplexity,
} from './log-lines.ts';

const entry = {
  time: new Date(2026, 10, 2, 3, 4, 5),
  iteration: 100,
  trainIters: 300000,
  consumedSamples: 51200,
  elapsedMsPerIteration: 1234.56,
  tokensPerSecond: 1e6,
  modelFlopsPerToken: 7.7e8,
  palmFlopsPerToken: 8.6e8,
  learningRate: 1.5e-4,
  globalBatchSize: 512,
  losses: { 'lm loss': 3.25 },
  lossScale: 65536,
  gradNorm: 1.23456,
  skippedIterations: 0,
  nanIterations: 2,
};

test('the training line', () => {
  expect(formatTrainingLine(entry)).toBe(
    ' [2026-11-02 03:04:05] iteration      100/  300000 | consumed samples:        51200 | elapsed time per iteration (ms): 1234.6 | ' +
      'model TFLOP/s (causal matmul): 770.000 | PaLM TFLOP/s (6N+12Lhs): 860.000 | tokens/s: 1000000.0 | learning rate: 1.500000E-04 | ' +
      'global batch size:   512 | lm loss: 3.250000E+00 | loss scale: 65536.0 | grad norm: 1.235 | ' +
      'number of skipped iterations:   0 | number of nan iterations:   2 |',
  );
  expect(formatTrainingLine({ ...entry, hardwareFlopsPerToken: 9e8 })).toContain(
    '| PaLM TFLOP/s (6N+12Lhs): 860.000 | hardware TFLOP/s (with recomputation): 900.000 | tokens/s: 1000000.0 |',
  );
  const { gradNorm: _, ...without } = entry;
  const bert = formatTrainingLine({ ...without, losses: { 'lm loss': Number.NaN, 'sop loss': 0.7 } });
  expect(bert).toContain('| lm loss: nan | sop loss: 7.000000E-01 | loss scale: 65536.0 | number of skipped');
});

test('the validation block', () => {
  expect(formatValidationBlock('iteration 1000', { 'lm loss': 2 }).split('\n')).toEqual([
    '-'.repeat(96),
    ' validation loss at iteration 1000 | lm loss value: 2.000000E+00 | lm loss PPL: 7.389056E+00 | ',
    '-'.repeat(96),
  ]);
  expect(perplexity(100)).toBe(Math.exp(20));
});

test('arguments are sorted and dotted to one column', () => {
  expect(
    formatArguments({ seed: 1234, 'data-path': ['1', 'a'], fp16: false, save: undefined, name: 'x' }).split('\n'),
  ).toEqual([
    '------------------------ arguments ------------------------',
    '  data-path ....................... ["1","a"]',
    '  fp16 ............................ false',
    '  name ............................ x',
    '  save ............................ not set',
    '  seed ............................ 1234',
    '-------------------- end of arguments ---------------------',
  ]);
});

test('the memory line', () => {
  expect(
    formatMemoryLine({ rank: 3, iteration: 10, bytes: { allocated: 2 ** 30, 'max allocated': 1.5 * 2 ** 20 } }),
  ).toBe('[Rank 3] (after 10 iterations) memory (MB) | allocated: 1024.0 | max allocated: 1.5');
});

test('FLOPs agree with the published formulas', () => {
  // GPT-3 175B: B = 1536, s = 2048, V = 51200. Narayanan et al. 2021, equation 3 (full attention, full recomputation) and its
  // counterpart without recomputation, Korthikanti et al. 2022, appendix A; both per token.
  const [numLayers, hiddenSize, sequenceLength, vocabularySize] = [96, 12288, 2048, 51200];
  const shape = { numLayers, hiddenSize, sequenceLength, vocabularySize, causal: false };
  const unit = numLayers * hiddenSize ** 2;
  const attention = sequenceLength / (6 * hiddenSize);
  const logits = vocabularySize / (numLayers * hiddenSize);
  expect(modelFlopsPerToken(shape) / (72 * unit * (1 + attention + logits / 12))).toBeCloseTo(1, 12);
  expect(hardwareFlopsPerToken(shape, { layers: 0 })).toBe(modelFlopsPerToken(shape));
  // Equation 3 counts the logits' product once more than is done: 96 V/(16 L h) is 6 V/(L h) as in 72 V/(12 L h), so they agree.
  const all = hardwareFlopsPerToken(shape, { layers: numLayers });
  expect(all / (96 * unit * (1 + attention + logits / 16))).toBeCloseTo(1, 12);
  // Each group leaves out one product h × 4h, which is a third of a layer's.
  expect(all - hardwareFlopsPerToken(shape, { layers: numLayers, groups: 3 })).toBe(3 * 8 * hiddenSize ** 2);
  // The causal mask halves attention and nothing else.
  const halved = modelFlopsPerToken(shape) - modelFlopsPerToken({ ...shape, causal: true });
  expect(halved).toBe(6 * numLayers * hiddenSize * sequenceLength);
  // GPT-2 124M at s = 1024: nanoGPT's own 6N + 12LHQT with N = 124 439 808.
  const gpt2 = { numLayers: 12, hiddenSize: 768, sequenceLength: 1024, parameterCount: 124439808 };
  expect(palmFlopsPerToken(gpt2)).toBe(6 * 124439808 + 12 * 12 * 768 * 1024);
  // Megatron's formula, written out: 6(L(4h² + 2hf) + hV) + 6Lsh.
  const model = modelFlopsPerToken({ ...gpt2, vocabularySize: 50304, ffnHiddenSize: 3000 });
  expect(model).toBe(6 * (12 * (4 * 768 ** 2 + 2 * 768 * 3000) + 768 * 50304) + 6 * 12 * 1024 * 768);
});
