/** What the demo says. */

import { join } from 'node:path';
import { formatBytes, formatCount, formatDuration, formatFixed, formatInteger } from '../../base/format.ts';
import type { JsonObject } from '../../checkpoint/index.ts';
import type { Engine } from '../../tensor/engine.ts';
import { perplexity } from '../../train/report/index.ts';
import { curveName } from './curve.ts';
import { bitsPerByte, type EvaluationResult } from './evaluation.ts';
import type { ModelPlan } from './plan.ts';
import { corpusName, type DataResult, type TextResult, type TokenizerResult } from './prepare.ts';
import { checkpointsName, type TrainingResult } from './training.ts';
import { prompts, type Sample, sampling } from './writing.ts';

export const samplesName = 'samples.txt';

export function opening(engine: Engine, folder: string): string[] {
  const slow =
    engine.name === 'reference'
      ? ['        It is about 100 times slower than compiled kernels: text and model are cut to fit.']
      : [];
  return [
    'megatron demo: from the text on this machine to a small GPT that writes',
    '',
    `engine  ${engine.backend.description}`,
    ...slow,
    `folder  ${folder} (Ctrl-C stops; the same command goes on from there)`,
    '',
  ];
}

const mega = (bytes: number): string => formatBytes(bytes);

export function text({ bytes, typeScriptBytes, train, valid, test }: TextResult): string {
  const markdown = bytes - typeScriptBytes;
  return `${mega(bytes)} in ${train + valid + test} files: ${mega(typeScriptBytes)} TypeScript, ${mega(markdown)} Markdown`;
}

export const tokenizer = ({ vocabSize }: TokenizerResult): string =>
  `byte-level BPE, ${formatInteger(vocabSize)} tokens`;

export function data({ tokens, validDocuments, testDocuments }: DataResult, { bytes }: TextResult): string {
  const heldOut = validDocuments + testDocuments;
  return `${formatCount(tokens)} tokens, ${(bytes / tokens).toFixed(2)} bytes each; ${heldOut} files held out`;
}

export function model({ parameters, numLayers, hiddenSize, seqLength }: ModelPlan): string {
  return `${formatCount(parameters)} parameters: ${numLayers} layers, hidden ${hiddenSize}, ${seqLength} positions`;
}

export function modelDetail({ trainIters, seqLength, microBatchSize, tokensPerSecond }: ModelPlan): string {
  const updates = `updates: ${formatInteger(trainIters)}, of ${formatInteger(seqLength * microBatchSize)} tokens each`;
  if (tokensPerSecond === 0) return updates;
  return `${updates}\nas many as fit into 3 minutes at ${formatCount(tokensPerSecond)} tokens/s`;
}

/** The parts of a plan that decide what is trained. */
export function planInputs(plan: ModelPlan): JsonObject {
  return {
    updates: plan.trainIters,
    layers: plan.numLayers,
    'hidden size': plan.hiddenSize,
    heads: plan.numAttentionHeads,
    'sequence length': plan.seqLength,
    'batch size': plan.microBatchSize,
    'learning rate': plan.lr,
  };
}

export function training({ firstLoss, loss, validLoss, tokens }: TrainingResult): string {
  const heldOut = validLoss === null ? '' : ` (held-out ${validLoss.toFixed(2)})`;
  return `loss ${firstLoss.toFixed(2)} → ${loss.toFixed(2)}${heldOut} after ${formatCount(tokens)} tokens`;
}

export const evaluation = ({ tokens }: EvaluationResult, { testDocuments }: DataResult): string =>
  `on ${formatInteger(tokens)} tokens of ${testDocuments} files never trained on`;

export function evaluationTable(result: EvaluationResult): string {
  const row = (name: string, loss: number): string => {
    const figures = [formatFixed(loss, 3), formatFixed(perplexity(loss), 1), formatFixed(bitsPerByte(loss, result), 3)];
    return name.padEnd(12) + figures.map((figure) => figure.padStart(13)).join('');
  };
  return [
    ''.padEnd(12) + ['nats/token', 'perplexity', 'bits/byte'].map((head) => head.padStart(13)).join(''),
    row('unigram', result.unigramLoss),
    row('this model', result.modelLoss),
  ].join('\n');
}

export const writing = (): string => `temperature ${sampling.temperature}, top-p ${sampling.topP}`;

export const tokensWritten = (): string => `up to ${sampling.tokensToGenerate} tokens each`;

/** Passes text on with every line set in by four columns. */
export function indented(write: (text: string) => void): (text: string) => void {
  let atStart = true;
  return (piece) => {
    if (piece === '') return;
    write((atStart ? '    ' : '') + piece.replaceAll('\n', '\n    '));
    atStart = false;
  };
}

export const samplesText = (samples: readonly Sample[]): string =>
  samples.map(({ prompt, continuation }) => `${prompt}${continuation}\n`).join(`\n${'-'.repeat(72)}\n\n`);

/** @param milliseconds undefined where everything had been done before */
export function closing(folder: string, milliseconds: number | undefined): string[] {
  const files: [string, string][] = [
    [checkpointsName, 'the model: weights, optimizer, tokenizer, metrics.jsonl'],
    [curveName, 'its loss curve'],
    [samplesName, 'what it wrote'],
    [corpusName, 'the text it learnt from'],
  ];
  const width = Math.max(...files.map(([name]) => join(folder, name).length)) + 2;
  const quoted = /^[\w./-]+$/.test(folder) ? (path: string) => path : (path: string) => `"${path}"`;
  const checkpoints = quoted(join(folder, checkpointsName));
  const option = folder === 'demo-output' ? '' : ` --output ${quoted(folder)}`;
  return [
    '',
    milliseconds === undefined
      ? 'All of it was done before. What there is:'
      : `Done in ${formatDuration(milliseconds)}. What there is now:`,
    '',
    ...files.map(([name, what]) => `  ${join(folder, name).padEnd(width)}${what}`),
    '',
    'What to type next:',
    '',
    `  npx megatron generate --load ${checkpoints} --prompt "${prompts[0]}"`,
    '  npx megatron pretrain gpt --help      trains on text of your own',
    `  ${`npx megatron demo${option} --restart`.padEnd(36)}  shows all this again`,
  ];
}
