import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { noCpuEngine } from '../../../test/support/engines.ts';

/** Runs the script, and signals it every 2 ms from its first word on. */
function runUnderSignals(): Promise<{ code: number | null; stdout: string }> {
  const script = fileURLToPath(new URL('../../../test/support/signalled.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  let timer: NodeJS.Timeout | undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    timer ??= setInterval(() => child.kill('SIGUSR2'), 2);
    if (stdout.includes('products')) clearInterval(timer);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      clearInterval(timer);
      resolve({ code, stdout });
    });
  });
}

describe.skipIf(noCpuEngine)(`matrix products under signals${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  // without the guard of signals.h this process dies within a second, on AVX-512 with oneDNN 2.6
  it('give the same bits however often the process is signalled', async () => {
    const { code, stdout } = await runUnderSignals();
    expect(stdout).toMatch(/all products agree; [1-9]\d* signals/);
    expect(code).toBe(0);
  });
});
