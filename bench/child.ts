/** A part of a benchmark in a process of its own: one that hangs, or breaks its GPU, costs its own result alone. */

import { spawn } from 'node:child_process';

export interface ChildResult {
  readonly stdout: string;
  /** Null where it was stopped. */
  readonly code: number | null;
  readonly seconds: number;
}

export interface ChildOptions {
  /** It is stopped then, with all that it started. */
  readonly seconds: number;
  readonly environment?: Readonly<Record<string, string>>;
  readonly folder?: string;
  /** Where its standard error goes; this process' own where not given. */
  readonly quiet?: boolean;
}

export async function runChild(
  program: string,
  words: readonly string[],
  { seconds, environment = {}, folder, quiet = false }: ChildOptions,
): Promise<ChildResult> {
  const start = performance.now();
  const child = spawn(program, words, {
    ...{ env: { ...process.env, ...environment }, detached: true, ...(folder && { cwd: folder }) },
    stdio: ['ignore', 'pipe', quiet ? 'ignore' : 'inherit'],
  });
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL'); // its group
  }, seconds * 1000);
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const code = await new Promise<number | null>((resolve) => {
    child.on('close', resolve);
    child.on('error', () => resolve(null));
  });
  clearTimeout(timer);
  return { stdout, code, seconds: Math.round((performance.now() - start) / 100) / 10 };
}

/** Does work for all items, `together` of them at a time. */
export async function inParallel<Item>(
  items: readonly Item[],
  together: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: together }, worker));
}
