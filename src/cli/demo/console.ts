/** The demo's page on the terminal: a numbered line for each stage, its result and its time; a live line while it works. */

import { formatDuration } from '../../base/format.ts';
import { ProgressLine } from '../../base/progress.ts';
import type { TextStream } from '../command-module.ts';

const titleWidth = 11;
const wordsWidth = 54;
/** Where text below a stage's line begins. */
export const indent = ' '.repeat(titleWidth + 3);

export class DemoConsole {
  readonly #stdout: TextStream;
  readonly #stderr: TextStream;

  constructor(stdout: TextStream, stderr: TextStream) {
    this.#stdout = stdout;
    this.#stderr = stderr;
  }

  /** Columns to fill, 79 at most: wide text is hard to read. */
  get columns(): number {
    return Math.min(Math.max((this.#stdout.columns ?? 80) - 1, 40), 79);
  }

  get colour(): boolean {
    return this.#stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb';
  }

  print(text = ''): void {
    this.#stdout.write(`${text}\n`);
  }

  /** Text as it comes, without a line break of its own. */
  stream(text: string): void {
    this.#stdout.write(text);
  }

  /** A word on the side: what is kept, what is made anew, what takes long. */
  notice(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  stage(number: number, title: string): StageConsole {
    return new StageConsole(this, this.#stderr, `${number} ${title.padEnd(titleWidth)}`);
  }
}

/** One stage's lines. Dispose it to leave the live line as it stands. */
export class StageConsole implements Disposable {
  readonly #page: DemoConsole;
  readonly #line: ProgressLine;
  readonly #heading: string;
  readonly #start = performance.now();
  #settled = false;

  constructor(page: DemoConsole, stderr: TextStream, heading: string) {
    this.#page = page;
    this.#line = new ProgressLine({ stream: stderr });
    this.#heading = heading;
  }

  /** Shows where the work stands, when it is time to. */
  update(text: () => string): void {
    this.#line.update(() => `${this.#heading} ${text()}`);
  }

  /** A line above the live one. */
  notice(text: string): void {
    this.#line.log(`  ${text}`);
  }

  /** The stage's own line: its result, and its time or `time` in its place. */
  settle(words: string, time = formatDuration(performance.now() - this.#start)): void {
    this.#close();
    this.#page.print(`${this.#heading} ${words.padEnd(wordsWidth)} ${time.padStart(9)}`);
  }

  /** More lines below it. */
  detail(text: string): void {
    this.#close();
    for (const line of text.split('\n')) this.#page.print(`${indent}${line}`.trimEnd());
  }

  #close(): void {
    if (this.#settled) return;
    this.#settled = true;
    // The result takes the place of the live line.
    if (this.#line.isLive) this.#line.finish('');
    else this.#line.finish();
  }

  [Symbol.dispose](): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#line.finish();
  }
}
