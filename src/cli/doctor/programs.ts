/** Asks other programs for their version. */

import { execFile } from 'node:child_process';

const patienceMilliseconds = 5000;

/** Standard output of a program; undefined where it is not there, fails, or takes too long. */
export function outputOf(command: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(command, [...args], { timeout: patienceMilliseconds, encoding: 'utf8' }, (error, stdout) => {
      resolve(error === null ? stdout.trim() : undefined);
    });
  });
}

/** First line that a program says about itself; undefined where it is not there. */
export async function firstLineOf(
  command: string,
  args: readonly string[] = ['--version'],
): Promise<string | undefined> {
  const output = await outputOf(command, args);
  return output?.split('\n').find((line) => line.trim() !== '');
}
