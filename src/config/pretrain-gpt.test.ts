import { describe, expect, it } from 'vitest';
import { UsageError } from '../base/errors.ts';
import { parseCommandLine } from './command.ts';
import { type PretrainGptConfig, pretrainGptCommand } from './pretrain-gpt.ts';
import { recomputationOf } from './recompute-flags.ts';

function configOf(...args: string[]): PretrainGptConfig {
  const line = parseCommandLine(pretrainGptCommand, args);
  if (line.help) throw new Error('help was not asked for');
  return line.config;
}

const mock = (...args: string[]) => configOf('--mock-data', ...args);

function failure(...args: string[]): string {
  try {
    configOf(...args);
  } catch (error) {
    if (error instanceof UsageError) return `${error.message} | ${error.remedy ?? ''}`;
    throw error;
  }
  throw new Error(`${args.join(' ')} was accepted`);
}

const mockFailure = (...args: string[]) => failure('--mock-data', ...args);

describe('pretrain gpt', () => {
  it("has the paper's and Megatron's defaults", () => {
    expect(mock()).toMatchObject({
      numLayers: 24,
      hiddenSize: 1024,
      numAttentionHeads: 16,
      seqLength: 1024,
      maxPositionEmbeddings: 1024,
      makeVocabSizeDivisibleBy: 128,
      layernormEpsilon: 1e-5,
      initMethodStd: 0.02,
      attentionDropout: 0.1,
      hiddenDropout: 0.1,
      openaiGelu: false,
      globalBatchSize: 4,
      trainIters: 300_000,
      lr: 1.5e-4,
      minLr: 1e-5,
      lrDecayStyle: 'cosine',
      lrDecayIters: 300_000,
      lrWarmupIters: 3000,
      weightDecay: 0.01,
      clipGrad: 1,
      adamBeta1: 0.9,
      adamBeta2: 0.999,
      adamEps: 1e-8,
      split: '969, 30, 1',
      evalIters: 100,
      evalInterval: 1000,
      logInterval: 100,
      seed: 1234,
      device: 'auto',
      tokenizerType: 'GPT2BPETokenizer',
    });
  });

  it('derives what is not given', () => {
    const config = mock('--seq-length', '64', '--micro-batch-size', '3', '--train-iters', '500', '--lr', '1e-6');
    expect(config).toMatchObject({
      maxPositionEmbeddings: 64,
      globalBatchSize: 3,
      lrDecayIters: 500,
      lrWarmupIters: 5,
      minLr: 1e-6,
    });
    expect(config.numThreads).toBeGreaterThanOrEqual(1);
    expect(mock('--lr-warmup-fraction', '0.1', '--lr-decay-iters', '200').lrWarmupIters).toBe(20);
    expect(mock('--lr-warmup-fraction', '0.1', '--lr-warmup-iters', '0').lrWarmupIters).toBe(0);
    expect(mock('--lr-warmup-iters', '7').lrWarmupIters).toBe(7);
  });

  it('gives a train iteration or two no warm-up that would eat them', () => {
    expect(mock('--train-iters', '1').lrWarmupIters).toBe(0);
  });

  it('refuses sizes that do not fit each other, and names the fix', () => {
    expect(mockFailure('--hidden-size', '100')).toBe(
      '--hidden-size 100 cannot be shared equally by --num-attention-heads 16 | Choose a multiple, for example --hidden-size 96.',
    );
    expect(mockFailure('--seq-length', '2048', '--max-position-embeddings', '1024')).toContain(
      '--max-position-embeddings 2048',
    );
    expect(mockFailure('--micro-batch-size', '4', '--global-batch-size', '10')).toContain('--global-batch-size 12');
  });

  it('refuses schedules that cannot be', () => {
    expect(mockFailure('--lr-warmup-iters', '5', '--lr-warmup-fraction', '0.1')).toContain('contradict');
    expect(mockFailure('--lr', '1e-4', '--min-lr', '1e-3')).toContain('--min-lr 0.001 is above --lr 0.0001');
    expect(mockFailure('--train-iters', '10', '--lr-warmup-iters', '10')).toContain('leaves nothing');
    expect(mockFailure('--lr-decay-style', 'WSD')).toContain('Add --lr-wsd-decay-iters');
    expect(
      mockFailure(
        '--lr-decay-style',
        'WSD',
        '--train-iters',
        '100',
        '--lr-wsd-decay-iters',
        '90',
        '--lr-warmup-iters',
        '20',
      ),
    ).toContain('longer than the 100');
    expect(mockFailure('--lr-wsd-decay-iters', '10')).toContain('no effect with --lr-decay-style cosine');
    expect(mockFailure('--lr-wsd-decay-style', 'linear')).toContain('no effect');
    expect(mock('--lr-decay-style', 'WSD', '--lr-wsd-decay-iters', '10')).toMatchObject({
      lrWsdDecayIters: 10,
      lrWsdDecayStyle: 'exponential',
    });
  });

  it('refuses missing, double and malformed data', () => {
    expect(failure()).toContain('no data to train on');
    expect(mockFailure('--data-path', 'a')).toContain('--mock-data and --data-path contradict');
    expect(mockFailure('--data-cache-path', 'a')).toContain('--data-cache-path has no effect with --mock-data');
    expect(failure('--data-path', '0.5', 'a', 'b')).toContain('irregularly');
    expect(mockFailure('--split', '0,1,1')).toContain('leaves nothing to train on');
    expect(mockFailure('--split', 'most')).toContain('not a list of one to three weights');
    expect(configOf('--data-path', '0.3', 'a', '0.7', 'b').dataPath).toEqual(['0.3', 'a', '0.7', 'b']);
  });

  it('refuses tokenizer files that do not belong to the type', () => {
    expect(mockFailure('--vocab-file', 'v')).toContain('--merge-file is missing');
    expect(mockFailure('--tokenizer-model', 'm')).toContain('choose --tokenizer-type HuggingFaceTokenizer');
    expect(mockFailure('--tokenizer-type', 'HuggingFaceTokenizer')).toContain('Add --tokenizer-model FILE');
    expect(mockFailure('--tokenizer-type', 'BertWordPieceLowerCase')).toContain('Add --vocab-file FILE');
    expect(mockFailure('--tokenizer-type', 'ByteLevel', '--merge-file', 'm')).toContain(
      '--merge-file does not go with',
    );
    expect(mockFailure('--vocab-size', '100', '--tokenizer-type', 'ByteLevel')).toContain('--vocab-size contradicts');
    expect(failure('--data-path', 'a', '--vocab-size', '100', '--eod-mask-loss')).toContain('end-of-document token');
    expect(mock('--vocab-size', '100').vocabSize).toBe(100);
  });

  it('refuses recomputation that has no effect or no layers', () => {
    const none = '--recompute-method has no effect without --recompute-granularity full';
    expect(mockFailure('--recompute-method', 'block')).toContain(none);
    expect(mockFailure('--recompute-num-layers', '2', '--recompute-granularity', 'selective')).toContain(
      'remove --recompute-num-layers',
    );
    const full = ['--recompute-granularity', 'full', '--num-layers', '4'];
    expect(mockFailure(...full, '--recompute-num-layers', '5')).toContain('Choose 1 to 4.');
    expect(mockFailure('--recompute-granularity', 'some')).toContain('full');
    expect(recomputationOf(mock(...full))).toEqual({ granularity: 'full', method: 'uniform', numLayers: 1 });
    expect(recomputationOf(mock('--recompute-granularity', 'selective'))).toEqual({ granularity: 'selective' });
    expect(recomputationOf(mock())).toEqual({ granularity: 'none' });
  });

  it('refuses output options without an output', () => {
    expect(mockFailure('--save-interval', '10')).toContain('--save-interval has no effect without --save');
    expect(mockFailure('--save-retain', '2')).toContain('Add --save DIR.');
    expect(mock('--save', 'd', '--save-retain', '2')).toMatchObject({ save: 'd', saveRetain: 2, saveInterval: 1000 });
  });

  it.each([
    [['--num-layers', '0'], '--num-layers must be at least 1, not 0'],
    [['--num-layers', '1.5'], '--num-layers needs a whole number, not 1.5'],
    [['--hidden-dropout', '1'], '--hidden-dropout must be less than 1, not 1'],
    [['--lr', '0'], '--lr must be more than 0, not 0'],
    [
      ['--lr-decay-style', 'cosin'],
      '--lr-decay-style must be one of constant, linear, cosine, inverse-square-root, WSD; not cosin',
    ],
    [['--device', 'gpu'], '--device must be one of auto, cuda, cpu, reference; not gpu'],
    [['--save', ''], '--save must not be empty'],
    [['--num-layers', '1e300'], '--num-layers must be at most 9007199254740991, not 1e+300'],
    [['--seed', '-1'], '--seed must be at least 0, not -1'],
  ])('refuses %j', (args, message) => {
    expect(mockFailure(...args)).toContain(message);
  });

  it('tells all values that are wrong at once', () => {
    expect(mockFailure('--num-layers', '0', '--lr', '-1').split('\n')).toHaveLength(2);
  });

  it('takes an object instead of a command line, and refuses unknown keys', () => {
    const { config, given } = pretrainGptCommand.configure({ mockData: true, numLayers: 2 });
    expect(config.numLayers).toBe(2);
    expect([...given]).toEqual(['mockData', 'numLayers']);
    expect(() => pretrainGptCommand.configure({ mockData: true, layers: 2 })).toThrow('unknown option --layers');
  });
});
