/**
 * `npm run gpu-check`: everything that a GPU must show, in under ten minutes. Correctness first (the tests that run on the GPU),
 * then the benchmark; both as JSON in bench/results/.
 */

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../src/base/errors.ts';
import { findFiles } from '../src/ffi/compile.ts';
import { describeDevice, openDriver } from '../src/ffi/cuda/driver.ts';
import { findCuda } from '../src/ffi/cuda/find.ts';
import { compileKernels } from '../src/tensor/engines/cuda/functions.ts';
import { createCudaEngine } from '../src/tensor/engines/cuda.ts';
import { gpuBenchmark } from './gpu-train.ts';
import { benchmarkOptions, report } from './measure.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

interface Outcome {
  readonly passed: number;
  readonly failed: readonly string[];
  readonly skipped: number;
  readonly seconds: number;
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/** Files with suites that run on a GPU where there is one. */
const gpuTests = (part: string): string[] =>
  ['src', 'test']
    .flatMap((folder) => findFiles(join(root, folder), /\.test\.ts$/))
    .filter((file) => file.includes(part) && /describeOn(Engines|Gpus)\(/.test(readFileSync(file, 'utf8')));

/** Runs the tests whose name says that they are on the GPU. */
async function checkCorrectness(part: string, seconds: number): Promise<Outcome> {
  const program = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  if (!existsSync(program)) throw new Error(`${program} is not there: the checks of correctness are its tests`);
  const folder = mkdtempSync(join(tmpdir(), 'megatron-gpu-check-'));
  const start = performance.now();
  try {
    const file = join(folder, 'report.json');
    const words = [
      program,
      'run',
      ...gpuTests(part),
      '--maxWorkers=8',
      '-t',
      'on the GPU',
      '--reporter=json',
      `--outputFile=${file}`,
      '--reporter=dot',
    ];
    const child = spawn(process.execPath, words, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    const timer = setTimeout(() => child.kill(), seconds * 1000);
    await new Promise((resolve) => child.on('close', resolve));
    clearTimeout(timer);
    if (!existsSync(file)) throw new Error(`the tests did not end within ${seconds} s`);
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
    const tests = testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ fullName }) => fullName.includes('on the GPU'));
    const count = (status: string): number => tests.filter((test) => test.status === status).length;
    const broken = testResults.filter(({ message, assertionResults }) => message && assertionResults.length === 0);
    return {
      passed: count('passed'),
      failed: [
        ...tests
          .filter(({ status }) => status === 'failed')
          .map(({ fullName, failureMessages }) => `${fullName}: ${(failureMessages?.[0] ?? '').split('\n')[0]}`),
        ...broken.map(({ name, message }) => `${name}: ${message}`),
      ],
      skipped: count('pending') + count('skipped'),
      seconds: Math.round((performance.now() - start) / 1000),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tests that do not end must not cost the benchmark. */
async function checkCorrectnessOrSay(part: string, seconds: number): Promise<Outcome> {
  try {
    return await checkCorrectness(part, seconds);
  } catch (error) {
    return { passed: 0, failed: [messageOf(error)], skipped: 0, seconds };
  }
}

function outputOf(program: string, words: readonly string[]): string | undefined {
  try {
    return execFileSync(program, words, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined; // not on this machine
  }
}

/** Compiles all kernels in several processes, so that no test waits for a compiler. @returns seconds */
async function compileFirst(): Promise<number> {
  const start = performance.now();
  const parts = Math.min(8, availableParallelism());
  const codes = await Promise.all(
    Array.from({ length: parts }, (_, part) => {
      const words = [fileURLToPath(import.meta.url), '--compile', `${part}/${parts}`];
      const child = spawn(process.execPath, words, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
      return new Promise<number | null>((resolve) => child.on('close', resolve));
    }),
  );
  if (codes.some((code) => code !== 0)) throw new Error('kernels do not compile');
  return Math.round((performance.now() - start) / 1000);
}

function compilePart(text: string): void {
  const [part = 0, parts = 1] = text.split('/').map(Number);
  const { driver: driverPath, nvrtc } = findCuda();
  if (!driverPath || !nvrtc) throw new Error('the CUDA driver or NVRTC is not here');
  const driver = openDriver(driverPath);
  const { architecture } = describeDevice(driver, 0);
  compileKernels({ nvrtc, architecture, notify: say }, part, parts);
}

const options = benchmarkOptions(process.argv.slice(2), {
  ...{ tests: '240', only: 'all', peers: '1.2b', compile: '', files: '' },
  ...{ models: '1.2b,355m,124m', steps: '12' },
});

const identity = (): Record<string, unknown> => {
  using engine = createCudaEngine();
  return {
    device: engine.backend.description,
    driver: outputOf('nvidia-smi', ['--query-gpu=name,driver_version,clocks.max.sm', '--format=csv,noheader']),
    commit: outputOf('git', ['rev-parse', 'HEAD']),
  };
};

async function check(): Promise<void> {
  const who = identity();
  say(`GPU: ${who['device']}`);
  const compileSeconds = await compileFirst();
  say(`kernels compiled in ${compileSeconds} s`);
  if (options.only !== 'speed') {
    const outcome = await checkCorrectnessOrSay(options.files, Number(options.tests));
    report('gpu-correctness', { ...who, compileSeconds, ...outcome });
    say(`correctness: ${outcome.passed} passed, ${outcome.failed.length} failed, ${outcome.skipped} skipped`);
    if (outcome.failed.length > 0 || outcome.passed === 0) process.exitCode = 1;
  }
  if (options.only !== 'correctness') {
    const names = options.models.split(',');
    const peers = options.peers.split(',');
    for await (const result of gpuBenchmark(names, { steps: Number(options.steps), peers })) {
      report(`gpu-train-${result.model}`, { ...who, ...result });
    }
  }
}

try {
  if (options.compile === '') await check();
  else compilePart(options.compile);
} catch (error) {
  say(`gpu-check: ${messageOf(error)}`);
  process.exitCode = 1;
}
