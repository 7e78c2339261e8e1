/** The `megatron` command, inside the test's own process or in one of its own. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { commands } from '../../src/cli/registry.ts';
import { runCli } from '../../src/cli/run.ts';

export interface Finished {
  /** Null where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command here; what it writes is collected, and standard output also piece by piece. */
export async function megatron(args: readonly string[]): Promise<Finished & { readonly pieces: readonly string[] }> {
  const pieces: string[] = [];
  let stderr = '';
  const code = await runCli(args, {
    commands,
    environment: {},
    stdout: { write: (text) => pieces.push(text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { code, stdout: pieces.join(''), stderr, pieces };
}

export interface RunningCommand {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  /** When the process has ended. */
  readonly finished: Promise<Finished>;
  /** When its output so far matches; rejects when it ends without. */
  until(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<void>;
}

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** Starts the command in a new process. */
export function startMegatron(args: readonly string[]): RunningCommand {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, ...output }));
  });
  return {
    process: child,
    finished,
    until: (name, pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (pattern.test(output[name])) resolve();
        };
        child[name].on('data', look);
        look();
        void finished.then(({ code, stderr }) =>
          reject(new Error(`ended with ${code} before ${pattern} came:\n${stderr}`)),
        );
      }),
  };
}
