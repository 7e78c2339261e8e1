/** A save that dies at any moment, or runs out of disk at any write, leaves checkpoints that load. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { MegatronError } from '../base/errors.ts';
import { pointerName } from './folders.ts';
import { hasCheckpoint, listCheckpoints } from './list.ts';
import { openCheckpoint } from './open.ts';
import { saveCheckpoint } from './save.ts';
import { assertSample, sampleMeta, sampleTensors, temporaryFolder } from './testing.ts';

const operations = ['mkdirSync', 'openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'rmSync'] as const;
type Operation = (typeof operations)[number];

/**
 * Runs `action` with a file system that fails from the `failing`-th operation on: for good (as if the process were dead,
 * so that no clean-up runs either), or once, with a full disk. What was half done stays half done.
 *
 * @returns whether the action came to its end, and how many operations it made.
 */
function withFailure(
  failing: number,
  kind: 'dead' | 'full',
  action: () => void,
): { finished: boolean; count: number; error: unknown } {
  const table = fs as unknown as Record<Operation, (...parameters: unknown[]) => unknown>;
  const originals = operations.map((name) => [name, table[name]] as const);
  let count = 0;
  for (const [name, original] of originals) {
    table[name] = (...parameters) => {
      count++;
      if (count < failing || (kind === 'full' && count > failing)) return original(...parameters);
      const [first, second] = parameters;
      if (count === failing && name === 'writeSync' && second instanceof Uint8Array) {
        original(first, second.subarray(0, Math.floor(second.byteLength / 2)));
      }
      if (
        count === failing &&
        name === 'rmSync' &&
        typeof first === 'string' &&
        fs.existsSync(first) &&
        fs.statSync(first).isDirectory()
      ) {
        const [inside] = fs.readdirSync(first);
        if (inside !== undefined) fs.unlinkSync(join(first, inside));
      }
      // A dead process closes its files; so does a full disk.
      if (name === 'closeSync') original(...parameters);
      throw Object.assign(
        new Error(kind === 'full' ? 'ENOSPC: no space left on device' : 'dead'),
        kind === 'full' ? { code: 'ENOSPC' } : {},
      );
    };
  }
  syncBuiltinESMExports();
  try {
    action();
    return { finished: true, count, error: undefined };
  } catch (error) {
    return { finished: false, count, error };
  } finally {
    for (const [name, original] of originals) table[name] = original;
    syncBuiltinESMExports();
  }
}

const save = (folder: string, iteration: number): void => {
  saveCheckpoint({ folder, iteration, tensors: sampleTensors(iteration), meta: sampleMeta(iteration), retain: 2 });
};

/** A root with three iterations, to be copied: copies need no waiting for the disk. */
function savedBefore(): { readonly path: string } & Disposable {
  const folder = temporaryFolder();
  for (const iteration of [1, 2, 3]) save(folder.path, iteration);
  return folder;
}

/** Makes what a dead run left look like a dead run's: this test's own process is alive. */
function age(root: string): void {
  for (const name of fs.readdirSync(root)) {
    if (name.startsWith('.') || name.endsWith('.partial')) fs.utimesSync(join(root, name), 1, 1);
  }
}

function assertLoads(root: string, expected: readonly number[]): number {
  using checkpoint = openCheckpoint(root);
  checkpoint.verify();
  assertSample(checkpoint);
  expect(expected).toContain(checkpoint.manifest.iteration);
  for (const item of listCheckpoints(root, { hashes: true })) expect(item.problem).toBeUndefined();
  return checkpoint.manifest.iteration;
}

describe.each([
  { what: 'a new iteration', iteration: 4 },
  { what: 'the iteration that the pointer names', iteration: 3 },
])('saving $what', ({ iteration }) => {
  test('dead at each single operation: a checkpoint loads, and the next save leaves no trace of it', () => {
    using template = savedBefore();
    let deaths = 0;
    let finished = false;
    for (let failing = 1; !finished; failing++) {
      using folder = temporaryFolder();
      fs.cpSync(template.path, folder.path, { recursive: true });
      const result = withFailure(failing, 'dead', () => save(folder.path, iteration));
      finished = result.count < failing;
      if (!finished) deaths++;
      assertLoads(folder.path, [3, iteration]);
      age(folder.path);
      save(folder.path, 5);
      assertLoads(folder.path, [5]);
      const names = fs.readdirSync(folder.path);
      expect(names.filter((name) => !/^iter_\d{7}$/.test(name))).toEqual([pointerName]);
      expect(names).toHaveLength(3);
    }
    expect(deaths).toBeGreaterThan(25);
  });

  test('a disk that is full at each single operation: a clear error or none, nothing lost', () => {
    using template = savedBefore();
    let failures = 0;
    let reached = true;
    for (let failing = 1; reached; failing++) {
      using folder = temporaryFolder();
      fs.cpSync(template.path, folder.path, { recursive: true });
      const result = withFailure(failing, 'full', () => save(folder.path, iteration));
      reached = result.count >= failing;
      assertLoads(folder.path, [3, iteration]);
      if (result.finished) continue;
      failures++;
      expect(result.error).toBeInstanceOf(MegatronError);
      expect((result.error as MegatronError).remedy).toContain('The disk is full');
      expect(fs.readdirSync(folder.path).filter((name) => name.startsWith('.') && name.endsWith('.partial'))).toEqual(
        [],
      );
    }
    expect(failures).toBeGreaterThan(15);
  });
});

test('a first save that dies at any operation leaves nothing, or a checkpoint that loads', () => {
  const outcomes: boolean[] = [];
  for (let failing = 1; ; failing++) {
    using folder = temporaryFolder();
    const result = withFailure(failing, 'dead', () => save(folder.path, 1));
    if (result.count < failing) break;
    outcomes.push(hasCheckpoint(folder.path));
    if (outcomes.at(-1) === true) assertLoads(folder.path, [1]);
  }
  // Nothing at first, then a checkpoint, and never back.
  expect(outcomes).toEqual(outcomes.toSorted());
  expect([outcomes[0], outcomes.at(-1)]).toEqual([false, true]);
});

test('kill -9 at twenty random moments of a run that saves all the time', async () => {
  using folder = temporaryFolder();
  const child = fileURLToPath(new URL('./crash.child.ts', import.meta.url));
  let state = 20;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let before = 0;
  const latest: number[] = [];
  for (let round = 0; round < 20; round++) {
    const run = spawn(process.execPath, [child, folder.path], { stdio: ['ignore', 'pipe', 'pipe'] });
    const exit = once(run, 'exit');
    let errors = '';
    run.stderr.on('data', (chunk) => (errors += chunk));
    // From its first finished save on, a checkpoint must load at every moment.
    await Promise.race([once(run.stdout, 'data'), exit]);
    run.stdout.resume();
    await new Promise((resolve) => setTimeout(resolve, random() * 60));
    run.kill('SIGKILL');
    await exit;
    expect(errors).toBe('');
    expect(run.signalCode).toBe('SIGKILL');
    using checkpoint = openCheckpoint(folder.path);
    checkpoint.verify();
    assertSample(checkpoint);
    expect(checkpoint.manifest.iteration).toBeGreaterThan(before);
    before = checkpoint.manifest.iteration;
    latest.push(before);
    for (const item of listCheckpoints(folder.path, { hashes: true })) expect(item.problem).toBeUndefined();
  }
  expect(latest).toHaveLength(20);
  expect(fs.readdirSync(folder.path).filter((name) => name.startsWith('.iter_')).length).toBeLessThanOrEqual(3);
});
