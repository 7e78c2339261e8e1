/** The demo from end to end: eight stages, each of which is skipped where its result is there already. */

import { join } from 'node:path';
import { writeFileAtomically } from '../../base/files.ts';
import { formatDuration } from '../../base/format.ts';
import { type JsonObject, openCheckpoint } from '../../checkpoint/index.ts';
import type { DemoConfig } from '../../config/demo.ts';
import { GptModel } from '../../model/gpt.ts';
import type { Engine } from '../../tensor/engine.ts';
import { createEngine } from '../../tensor/engines/select.ts';
import { modelOfCheckpoint } from '../../train/gpt-architecture.ts';
import { tokenizerOfCheckpoint } from '../../train/tokenizer-files.ts';
import { loadWeights } from '../../train/training-checkpoint.ts';
import type { CommandContext } from '../command-module.ts';
import { interruptible } from '../interrupt.ts';
import { DemoConsole, type StageConsole } from './console.ts';
import { curveName, lossChart, smallCurve, writeCurve } from './curve.ts';
import { evaluateDemo } from './evaluation.ts';
import { courses, type ModelPlan, planModel } from './plan.ts';
import {
  collectText,
  corpusName,
  type DataResult,
  type TextResult,
  type TokenizerResult,
  tokenizerFilesIn,
  tokenizerNames,
  tokenizeText,
  trainTokenizer,
} from './prepare.ts';
import { type StageName, type StageState, Stages, stageNames } from './stages.ts';
import { packageFolders } from './text-files.ts';
import { checkpointsName, lostMetrics, type TrainingResult, trainDemo, trainingFiles } from './training.ts';
import * as words from './words.ts';
import { prompts, type Sample, sampling, writeSample } from './writing.ts';

/** One stage: what decides its result, how it is made, and how it is told. */
interface Stage<Result extends JsonObject> {
  readonly name: StageName;
  readonly title: string;
  readonly inputs: JsonObject;
  /** Why what an earlier run made can be neither used nor gone on with, where the record alone cannot tell. */
  unusable?(): string | undefined;
  /** Does the work. Its files are paths inside the demo's folder. */
  work(page: StageConsole): Promise<{ readonly result: Result; readonly files: readonly string[] }>;
  /** The stage's line. */
  tell(result: Result, page: StageConsole, time: string | undefined): void;
}

interface Demo {
  readonly config: DemoConfig;
  readonly page: DemoConsole;
  readonly stages: Stages;
  readonly engine: Engine;
  readonly signal: AbortSignal;
}

/**
 * @param folders where to look for text; default: the packages around this one
 * @throws InterruptedError when a signal came: what is finished is kept, and the same command goes on from there.
 */
export async function runDemo(
  config: DemoConfig,
  context: Pick<CommandContext, 'stdout' | 'stderr'>,
  folders: readonly string[] = packageFolders(),
): Promise<void> {
  const start = performance.now();
  using interrupt = interruptible('The same command goes on where it stopped.');
  const page = new DemoConsole(context.stdout, context.stderr);
  const stages = new Stages(config.output, { restart: config.restart });
  const { device, numThreads: threads } = config;
  using engine = await createEngine({ device, threads, notify: (message) => page.notice(message) });
  const demo: Demo = { config, page, stages, engine, signal: interrupt.signal };
  for (const line of words.opening(engine, config.output)) page.print(line);

  const text = await makeText(demo, folders);
  const tokenizer = await makeTokenizer(demo);
  const data = await makeData(demo, text);
  const plan = await makePlan(demo, tokenizer.vocabSize, data);
  await train(demo, plan, data);
  await judge(demo, plan, data);
  const milliseconds = stages.finishedNow > 0 ? performance.now() - start : undefined;
  for (const line of words.closing(config.output, milliseconds)) page.print(line);
}

/** Runs a stage, or takes its result over from an earlier run. */
async function perform<Result extends JsonObject>(demo: Demo, stage: Stage<Result>): Promise<Result> {
  const { stages, page, signal, config } = demo;
  const { name, title, inputs } = stage;
  // A signal is heard between stages too.
  await new Promise((turn) => setImmediate(turn));
  signal.throwIfAborted();
  using lines = page.stage(stageNames.indexOf(name) + 1, title);
  const recorded = stages.state(name, inputs);
  const unusable = recorded.kind === 'new' || recorded.kind === 'outdated' ? undefined : stage.unusable?.();
  const state: StageState = unusable === undefined ? recorded : { kind: 'outdated', reasons: [unusable] };
  if (state.kind === 'done') {
    // What is read back is what `finish` was given: the record has our version, and the inputs are the same.
    const result = state.result as Result;
    stage.tell(result, lines, 'unchanged');
    return result;
  }
  if (state.kind === 'outdated' || state.kind === 'damaged') {
    lines.notice(`${title} is made anew: ${state.reasons.join('; ')}`);
    // A damaged run goes on from what is sound of it; another run must not write among its checkpoints.
    const aside = name === 'training' && state.kind === 'outdated' ? stages.setAside(checkpointsName) : undefined;
    if (aside !== undefined) lines.notice(`the former checkpoints are now in ${join(config.output, aside)}`);
  }
  if (state.kind !== 'begun') stages.begin(name, inputs);
  const { result, files } = await stage.work(lines);
  stages.finish(name, result, files);
  stage.tell(result, lines, undefined);
  return result;
}

function makeText(demo: Demo, folders: readonly string[]): Promise<TextResult> {
  const { corpus } = courses[demo.engine.name];
  const { output } = demo.config;
  return perform<TextResult>(demo, {
    ...{ name: 'text', title: 'Text' },
    // Text that was collected stays, whatever is installed later: only other limits ask for another collection.
    inputs: { ...corpus },
    work: async (page) => ({
      result: await collectText(output, folders, corpus, page, demo.signal),
      files: [corpusName],
    }),
    tell: (result, page, time) => page.settle(words.text(result), time),
  });
}

function makeTokenizer(demo: Demo): Promise<TokenizerResult> {
  const { vocabSize } = courses[demo.engine.name];
  return perform<TokenizerResult>(demo, {
    ...{ name: 'tokenizer', title: 'Tokenizer' },
    inputs: { 'the text': demo.stages.contentOf('text'), vocabulary: vocabSize },
    work: async (page) => ({
      result: await trainTokenizer(demo.config.output, vocabSize, page, demo.signal),
      files: tokenizerNames,
    }),
    tell: (result, page, time) => page.settle(words.tokenizer(result), time),
  });
}

function makeData(demo: Demo, text: TextResult): Promise<DataResult> {
  const { config, stages } = demo;
  return perform<DataResult>(demo, {
    ...{ name: 'data', title: 'Data' },
    inputs: { 'the text': stages.contentOf('text'), 'the tokenizer': stages.contentOf('tokenizer') },
    work: async (page) => {
      const result = await tokenizeText(config.output, text, Math.min(config.numThreads, 4), page, demo.signal);
      return { result, files: [`${result.prefix}.bin`, `${result.prefix}.idx`] };
    },
    tell: (result, page, time) => page.settle(words.data(result, text), time),
  });
}

function makePlan(demo: Demo, vocabSize: number, { validTokens }: DataResult): Promise<ModelPlan> {
  const { config, engine } = demo;
  return perform<ModelPlan>(demo, {
    ...{ name: 'model', title: 'Model' },
    inputs: { engine: engine.name, updates: config.trainIters ?? 'what fits', vocabulary: vocabSize },
    work: async (page) => {
      const options = { trainIters: config.trainIters, seed: config.seed, validTokens };
      const onProbe = (): void => page.update(() => 'measuring how fast this machine trains');
      return { result: planModel(engine, vocabSize, { ...options, onProbe }), files: [] };
    },
    tell: (result, page, time) => {
      page.settle(words.model(result), time);
      page.detail(words.modelDetail(result));
    },
  });
}

async function train(demo: Demo, plan: ModelPlan, data: DataResult): Promise<TrainingResult> {
  const { config, stages, signal } = demo;
  const { output, seed, device, numThreads } = config;
  const tokenizer = tokenizerFilesIn(output);
  const inputs = { 'the data': stages.contentOf('data'), 'the tokenizer': stages.contentOf('tokenizer') };
  const options = { plan, data, folder: output, tokenizer, seed, device, numThreads, signal };
  return perform<TrainingResult>(demo, {
    ...{ name: 'training', title: 'Training' },
    inputs: { ...inputs, ...words.planInputs(plan), seed },
    unusable: () => lostMetrics(options),
    work: async (page) => ({
      result: await trainDemo(options, page),
      files: trainingFiles(output),
    }),
    tell: (result, page, time) => page.settle(words.training(result), time),
  });
}

/** What the trained model is worth: figures, a curve, and text of its own. */
async function judge(demo: Demo, plan: ModelPlan, data: DataResult): Promise<void> {
  const { config, page, stages, signal, engine } = demo;
  using resources = new DisposableStack();
  const load = () => {
    const checkpoint = resources.use(openCheckpoint(join(config.output, checkpointsName)));
    const model = new GptModel(modelOfCheckpoint(checkpoint));
    resources.use(model.parameters).allocate(engine, { gradients: false });
    loadWeights(checkpoint, model.parameters);
    return { model, tokenizer: tokenizerOfCheckpoint(checkpoint) };
  };
  let loaded: ReturnType<typeof load> | undefined;
  const trained = () => (loaded ??= load());
  const inputs = { 'the model': stages.contentOf('training'), 'the data': stages.contentOf('data') };

  const evaluation = await perform(demo, {
    ...{ name: 'evaluation', title: 'Evaluation', inputs },
    work: async (lines) => ({
      result: await evaluateDemo({ folder: config.output, data, ...trained(), signal }, lines),
      files: [],
    }),
    tell: (result, lines, time) => {
      lines.settle(words.evaluation(result, data), time);
      lines.detail(words.evaluationTable(result));
    },
  });

  await perform(demo, {
    ...{ name: 'curve', title: 'Loss curve', inputs },
    work: async () => {
      writeCurve(config.output, lossChart(config.output, plan, evaluation));
      return { result: {}, files: [curveName] };
    },
    tell: (_, lines, time) => {
      lines.settle(join(config.output, curveName), time);
      page.print();
      page.print(smallCurve(lossChart(config.output, plan, evaluation), page.columns, page.colour));
      page.print();
    },
  });

  await perform<{ samples: Sample[]; milliseconds: number }>(demo, {
    ...{ name: 'writing', title: 'Writing' },
    inputs: { 'the model': stages.contentOf('training'), seed: config.seed, prompts, ...sampling },
    work: async (lines) => {
      lines.settle(words.writing(), '');
      const start = performance.now();
      const samples: Sample[] = [];
      for (const [sample, prompt] of prompts.entries()) {
        page.print();
        const write = words.indented((piece) => page.stream(piece));
        const { model, tokenizer } = trained();
        samples.push(await writeSample(model, tokenizer, prompt, { seed: config.seed, sample, signal, write }));
        page.print();
      }
      writeFileAtomically(join(config.output, words.samplesName), words.samplesText(samples));
      const milliseconds = Math.round(performance.now() - start);
      page.print();
      page.print(`    (${words.tokensWritten()}, ${formatDuration(milliseconds)})`);
      return { result: { samples, milliseconds }, files: [words.samplesName] };
    },
    tell: ({ samples }, lines, time) => {
      if (time === undefined) return; // it was told as it was written
      lines.settle(words.writing(), time);
      for (const { prompt, continuation } of samples) {
        page.print();
        words.indented((piece) => page.stream(piece))(prompt + continuation);
        page.print();
      }
    },
  });
}
