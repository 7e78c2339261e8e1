/**
 * `npm run gpu-check`: everything that a GPU must show, in under ten minutes. Correctness first (the tests that run on the GPU),
 * then the benchmark. Every result is written as soon as it is there, as JSON in bench/results/, and in `--output FOLDER` too.
 */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MegatronError, messageOf, UsageError } from '../src/base/errors.ts';
import { findCompiler } from '../src/ffi/compile.ts';
import { describeDevice, openDriver } from '../src/ffi/cuda/driver.ts';
import { findCuda } from '../src/ffi/cuda/find.ts';
import { createCpuEngine } from '../src/tensor/engines/cpu.ts';
import { compileKernels } from '../src/tensor/engines/cuda/functions.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { runChild } from './child.ts';
import { pick } from './gpt-step.ts';
import { gpuBenchmark, gpuModels, type Part, type PartResult } from './gpu-benchmark.ts';
import { runPart } from './gpu-parts.ts';
import { gpuTestFiles, runGpuTests, type TestOutcome } from './gpu-tests.ts';
import { benchmarkOptions, report } from './measure.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const self = fileURLToPath(import.meta.url);
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const startedAt = performance.now();
const minutesGone = (): number => (performance.now() - startedAt) / 60_000;

/** What each option is for; those of the last line are this program's own. */
const help = `npm run gpu-check -- [options]: the tests that run on the GPU, then the benchmark; see docs/cuda.md

  --only WHAT          correctness or speed; default: all
  --minutes N          all ends within them; default: 9.5
  --output FOLDER      keeps the results there, besides bench/results/
  --files PART         tests of files whose path holds this
  --together N         test files at a time; default: 4
  --test-seconds N     of a test file at most; default: 100
  --test-minutes N     of all tests at most; default: 4.5
  --under "PROGRAM …"  runs the tests under it: compute-sanitizer --target-processes all
  --models A,B         of 1.2b, 355m, 124m (all by default), tiny
  --peers A,B          models that PyTorch trains too, "" for none; default: 1.2b
  --steps N            measured steps; default: 12
`;

const defaults = {
  ...{ only: 'all', under: '', minutes: '9.5', output: '', files: '', together: '4' },
  ...{ 'test-seconds': '100', 'test-minutes': '4.5', models: '1.2b,355m,124m', peers: '1.2b', steps: '12' },
  ...{ compile: '', part: '' },
};
const list = (text: string): string[] => text.split(',').filter((word) => word !== '');

/** @throws UsageError before the GPU is looked for, where an option makes no sense. */
function readOptions(): typeof defaults {
  const given = benchmarkOptions(process.argv.slice(2), defaults);
  if (!['all', 'correctness', 'speed'].includes(given.only)) {
    throw new UsageError(`--only ${given.only}: choose correctness or speed, or leave it out`);
  }
  for (const name of ['minutes', 'together', 'test-seconds', 'test-minutes', 'steps'] as const) {
    if (!(Number(given[name]) > 0)) throw new UsageError(`--${name} ${given[name]} is no number above 0`);
  }
  for (const model of [...list(given.models), ...list(given.peers)]) pick(gpuModels, model, 'model');
  if (gpuTestFiles(given.files).length === 0)
    throw new UsageError(`no test that runs on a GPU has ${given.files} in its path`);
  return given;
}

let options = defaults;

/** Keeps a result where it does not depend on this process' end. */
function keep(name: string, result: object): void {
  report(name, result, { quiet: true });
  if (options.output === '') return;
  mkdirSync(options.output, { recursive: true });
  cpSync(join(root, 'bench', 'results', `${name}.json`), join(options.output, `${name}.json`));
}

function outputOf(program: string, words: readonly string[]): string | undefined {
  try {
    return execFileSync(program, words, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined; // not on this machine
  }
}

/** Compiles all kernels in several processes, the CPU's too, so that no test waits for a compiler. @returns seconds */
async function compileFirst(): Promise<number> {
  const start = performance.now();
  const parts = Math.min(8, availableParallelism());
  const jobs = [...Array.from({ length: parts }, (_, part) => `${part}/${parts}`), 'cpu'];
  const children = await Promise.all(
    jobs.map((job) => runChild(process.execPath, [self, '--compile', job], { seconds: 240 })),
  );
  if (children.some(({ code }) => code !== 0)) {
    say('kernels do not compile: what needs them will fail');
    process.exitCode = 1;
  }
  return Math.round((performance.now() - start) / 1000);
}

async function compilePart(text: string): Promise<void> {
  if (text === 'cpu') {
    if (await findCompiler()) (await createCpuEngine({ notify: say }))[Symbol.dispose]();
    return;
  }
  const [part = 0, parts = 1] = text.split('/').map(Number);
  const { driver: driverPath, nvrtc } = findCuda();
  if (!driverPath || !nvrtc) throw new Error('the CUDA driver or NVRTC is not here');
  const { architecture } = describeDevice(openDriver(driverPath), 0);
  compileKernels({ nvrtc, architecture, notify: say }, part, parts);
}

const identity = (): Record<string, unknown> => {
  using engine = createCudaEngine();
  return {
    device: engine.backend.description,
    driver: outputOf('nvidia-smi', ['--query-gpu=name,driver_version,clocks.max.sm', '--format=csv,noheader']),
    commit: outputOf('git', ['rev-parse', 'HEAD']),
  };
};

async function checkCorrectness(who: object): Promise<TestOutcome> {
  const told = (outcome: TestOutcome): void => keep('gpu-correctness', { ...who, ...outcome });
  const until = Math.min(minutesGone() + Number(options['test-minutes']), Number(options.minutes));
  const files = gpuTestFiles(options.files);
  const outcome = await runGpuTests(files, {
    ...{ seconds: Number(options['test-seconds']), together: Number(options.together) },
    under: options.under.split(' ').filter((word) => word !== ''),
    secondsLeft: () => (until - minutesGone()) * 60,
    ended: (line, soFar) => {
      say(line);
      told(soFar);
    },
  });
  told(outcome);
  for (const line of outcome.failed) say(`failed: ${line}`);
  say(
    `correctness: ${outcome.passed} passed, ${outcome.failed.length} failed, ${outcome.skipped.length} skipped in ${outcome.seconds} s`,
  );
  if (outcome.failed.length > 0 || outcome.passed === 0) process.exitCode = 1;
  return outcome;
}

/** Whether the usual kernels of attention failed a test, or did not end one; those by mma are tested under their name. */
const attentionFailed = ({ failed }: TestOutcome): boolean =>
  failed.some((line) => /attention|warpgroup/.test(line) && !line.includes('by mma'));

/** Measures a part in a process of its own, where there is time for it. */
async function measurePart(part: Part): Promise<PartResult> {
  const secondsLeft = (Number(options.minutes) - minutesGone()) * 60;
  if (secondsLeft < 15) return { error: 'left out: no time was left' };
  const words = [self, '--part', JSON.stringify(part), '--steps', options.steps];
  const { stdout, code, seconds } = await runChild(process.execPath, words, { seconds: Math.min(150, secondsLeft) });
  try {
    return { ...(JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as PartResult), seconds };
  } catch {
    return { error: code === null ? `it did not end within ${seconds} s` : `it ended with ${code}`, seconds };
  }
}

async function check(): Promise<void> {
  const who = identity();
  say(`GPU: ${String(who['device'])}, ${String(who['driver'])}`);
  const compileSeconds = await compileFirst();
  say(`kernels compiled in ${compileSeconds} s`);
  if (options.only !== 'speed') {
    const outcome = await checkCorrectness({ ...who, compileSeconds });
    if (attentionFailed(outcome)) {
      process.env['MEGATRON_CUDA_ATTENTION'] = 'mma'; // of all that is measured from here on
      Object.assign(who, { attention: 'mma, since the usual kernels failed their tests' });
      say('attention failed its tests: it is measured by mma');
    }
  }
  if (options.only === 'correctness') return;
  await gpuBenchmark({
    ...{ models: list(options.models), peers: list(options.peers), measure: measurePart, say },
    keep: (name, result) => keep(name, { ...who, ...result }),
  });
}

try {
  if (process.argv.includes('--help')) process.stdout.write(help);
  else {
    options = readOptions();
    if (options.compile !== '') await compilePart(options.compile);
    else if (options.part !== '') await runPart(JSON.parse(options.part) as Part, Number(options.steps));
    else await check();
  }
} catch (error) {
  const remedy = error instanceof MegatronError ? error.remedy : undefined;
  say(`gpu-check: ${messageOf(error)}${remedy === undefined ? '' : `\n${remedy}`}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
