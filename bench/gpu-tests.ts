/** The tests that run on a GPU, each file in a process of its own, with every result kept as it comes. */

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../src/base/errors.ts';
import { findFiles } from '../src/ffi/compile.ts';
import { inParallel, runChild } from './child.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

export interface TestOutcome {
  readonly passed: number;
  /** What failed, and why. */
  readonly failed: readonly string[];
  /** Why tests did not run. */
  readonly skipped: readonly string[];
  readonly seconds: number;
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface VitestReport {
  readonly testResults: readonly {
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/** Files with suites that run on a GPU where there is one. */
export const gpuTestFiles = (part = ''): readonly string[] =>
  ['src', 'test']
    .flatMap((folder) => findFiles(join(root, folder), /\.test\.ts$/))
    .filter((file) => file.includes(part) && /describeOn(Engines|Gpus)\(/.test(readFileSync(file, 'utf8')));

/** Suites about work that the host does not wait for; the others wait after every kernel, so that an error names it. */
const unwaited = /captured-steps|cuda-training|nccl|shared-gpu/;

export interface TestRunOptions {
  /** Of a file. */
  readonly seconds: number;
  /** A program that runs each file's process, and its options: a checker of memory accesses, say. */
  readonly under: readonly string[];
  /** Files at a time; they share one GPU. */
  readonly together: number;
  /** Until all must have ended. */
  readonly secondsLeft: () => number;
  /** Told of every file that has ended, and of all until then. */
  readonly ended: (line: string, soFar: TestOutcome) => void;
}

export async function runGpuTests(files: readonly string[], options: TestRunOptions): Promise<TestOutcome> {
  const start = performance.now();
  const [failed, skipped]: [string[], string[]] = [[], []];
  let passed = 0;
  const outcome = (): TestOutcome => ({
    ...{ passed, failed: [...failed], skipped: [...skipped] },
    seconds: Math.round((performance.now() - start) / 1000),
  });
  await inParallel(files, options.together, async (file) => {
    if (options.secondsLeft() < 5) {
      failed.push(`${relative(root, file)}: no time was left for it`);
      return;
    }
    const one = await runFile(file, { ...options, seconds: Math.min(options.seconds, options.secondsLeft()) });
    passed += one.passed;
    failed.push(...one.failed);
    skipped.push(...one.skipped);
    const words = `${one.passed} passed, ${one.failed.length} failed, ${one.skipped.length} skipped, ${one.seconds} s`;
    options.ended(`${relative(root, file)}: ${words}`, outcome());
  });
  return outcome();
}

/** Runs a file's tests whose name says that they are on the GPU. */
async function runFile(file: string, { seconds, under }: TestRunOptions): Promise<TestOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'megatron-gpu-test-'));
  const name = basename(file);
  try {
    const place = join(folder, 'report.json');
    const program = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const vitest = [program, 'run', file, '-t', 'on the GPU', '--reporter=json', `--outputFile=${place}`];
    const [first = process.execPath, ...words] = [...under, process.execPath, ...vitest];
    const child = await runChild(first, words, {
      ...{ seconds, folder: root, quiet: true },
      environment: unwaited.test(name) ? {} : { MEGATRON_CUDA_SYNC: '1' },
    });
    if (!existsSync(place)) {
      const why = child.code === null ? `it did not end within ${seconds} s` : child.stdout.trim().slice(-500);
      return { passed: 0, failed: [`${name}: ${why}`], skipped: [], seconds: child.seconds };
    }
    return { ...judge(name, JSON.parse(readFileSync(place, 'utf8')) as VitestReport), seconds: child.seconds };
  } catch (error) {
    return { passed: 0, failed: [`${name}: ${messageOf(error)}`], skipped: [], seconds: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What an error says, without all of its way. */
const linesOf = (message = ''): string => message.split('\n').slice(0, 8).join('\n');

/** A suite whose preparation or end fails is a failed file without a failed test. */
function judge(name: string, { testResults }: VitestReport): Omit<TestOutcome, 'seconds'> {
  const tests = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName }) => fullName.includes('on the GPU'));
  const failed = tests
    .filter(({ status }) => status === 'failed')
    .map(({ fullName, failureMessages }) => `${fullName}: ${linesOf(failureMessages?.[0])}`);
  const brokenFile = testResults.find(({ status }) => status === 'failed');
  if (brokenFile && failed.length === 0)
    failed.push(`${name}: ${brokenFile.message || 'a suite could not begin or end'}`);
  return {
    passed: tests.filter(({ status }) => status === 'passed').length,
    failed,
    skipped: tests.filter(({ status }) => status === 'pending' || status === 'skipped').map(({ fullName }) => fullName),
  };
}
