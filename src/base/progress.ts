/** One live line of progress: rewritten in place on a terminal, printed now and then everywhere else. */

import { formatDuration, truncateToWidth } from './format.ts';

/** What a progress line writes to; `process.stderr` is one. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface ProgressLineOptions {
  /** Default `process.stderr`, so that standard output stays clean for results. */
  readonly stream?: ProgressStream;
  /** Least time between two drawings on a terminal, milliseconds; default 100. */
  readonly refreshMs?: number;
  /** Least time between two lines where the stream is no terminal, milliseconds; default 10 000. */
  readonly plainIntervalMs?: number;
  /** The clock in milliseconds; default `performance.now`. */
  readonly now?: () => number;
}

const eraseToEnd = '\x1b[K';

/**
 * A line that is always true to now. It has no timer of its own (work that blocks the thread would stop one):
 * `update` is cheap to call at every step, and draws only when it is time to.
 *
 * @example
 * using progress = new ProgressLine();
 * for (const batch of batches) { work(batch); progress.update(() => `step ${batch.index}`); }
 */
export class ProgressLine implements Disposable {
  readonly #stream: ProgressStream;
  readonly #live: boolean;
  readonly #interval: number;
  readonly #now: () => number;
  #lastDrawn: number;
  #shown = '';
  #finished = false;

  constructor(options: ProgressLineOptions = {}) {
    this.#stream = options.stream ?? process.stderr;
    this.#live = this.#stream.isTTY === true && process.env.TERM !== 'dumb';
    this.#interval = this.#live ? (options.refreshMs ?? 100) : (options.plainIntervalMs ?? 10_000);
    this.#now = options.now ?? (() => performance.now());
    // A terminal shows the first update at once; a log file waits, so that short work leaves no noise in it.
    this.#lastDrawn = this.#live ? Number.NEGATIVE_INFINITY : this.#now();
  }

  /** True on a terminal, where the line is rewritten in place. */
  get isLive(): boolean {
    return this.#live;
  }

  /** Shows `text` if it is time to; the function form is called only then. Line breaks become spaces. */
  update(text: string | (() => string)): void {
    if (this.#finished) return;
    const now = this.#now();
    if (now - this.#lastDrawn < this.#interval) return;
    this.#lastDrawn = now;
    this.#draw(typeof text === 'string' ? text : text());
  }

  /** Prints a line that stays, above the live one. */
  log(line: string): void {
    if (!this.#live) {
      this.#stream.write(`${line}\n`);
      return;
    }
    // One write for all three steps, so that no half-drawn state is ever seen.
    this.#stream.write(`\r${line}${eraseToEnd}\n${this.#shown}`);
  }

  /** Ends the line: with `text` as its last state if given, otherwise as it stands (a terminal) or without a word (elsewhere). */
  finish(text?: string): void {
    if (this.#finished) return;
    if (text !== undefined) this.#draw(text);
    if (this.#live && this.#shown !== '') this.#stream.write('\n');
    this.#shown = '';
    this.#finished = true;
  }

  [Symbol.dispose](): void {
    this.finish();
  }

  #draw(text: string): void {
    const line = text.replace(/[\r\n]+/g, ' ');
    if (!this.#live) {
      this.#stream.write(`${line}\n`);
      return;
    }
    // The last column stays free: a full line makes some terminals wrap, and then it cannot be rewritten.
    const fitted = truncateToWidth(line, Math.max((this.#stream.columns ?? 80) - 1, 10));
    this.#shown = fitted;
    this.#stream.write(`\r${fitted}${eraseToEnd}`);
  }
}

/** `████████▌░░░` of `width` columns, filled in eighths. */
export function progressBar(fraction: number, width: number): string {
  const share = Number.isFinite(fraction) ? Math.min(Math.max(fraction, 0), 1) : 0;
  const eighths = Math.floor(share * width * 8);
  const full = Math.floor(eighths / 8);
  const partial = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8] ?? '';
  return ('█'.repeat(full) + partial).padEnd(width, '░');
}

export interface ProgressState {
  readonly label: string;
  /** Units done so far, and in all (undefined where nobody knows). */
  readonly done: number;
  readonly total?: number | undefined;
  readonly elapsedMs: number;
  /** Units that were done before the clock started (a resumed run); they do not count into the rate. */
  readonly startedAt?: number;
  /** Words for a number of units: `formatBytes`, or `(n) => formatCount(n)`. */
  readonly format: (units: number) => string;
  /** More to tell, each printed after the rate: `loss 3.21`. */
  readonly details?: readonly string[];
}

/** Milliseconds that the rest takes at the mean rate so far; NaN while that is unknown. */
export function remainingMs(state: Pick<ProgressState, 'done' | 'total' | 'elapsedMs' | 'startedAt'>): number {
  const { done, total, elapsedMs, startedAt = 0 } = state;
  if (total === undefined || done <= startedAt || elapsedMs <= 0) return Number.NaN;
  return (Math.max(total - done, 0) * elapsedMs) / (done - startedAt);
}

/** `preprocess  45% █████▍░░░░░░  1.22 GB of 2.71 GB · 34.2 MB/s · ETA 43.5 s`: the one form of progress in every command. */
export function progressText(state: ProgressState): string {
  const { label, done, total, elapsedMs, startedAt = 0, format, details = [] } = state;
  const rate = elapsedMs > 0 ? ((done - startedAt) * 1000) / elapsedMs : Number.NaN;
  const parts: string[] = [];
  if (total !== undefined && total > 0) {
    const fraction = Math.min(done / total, 1);
    // 100 % is said only of finished work.
    const percent = done >= total ? 100 : Math.min(Math.floor(fraction * 100), 99);
    parts.push(`${String(percent).padStart(3)}% ${progressBar(fraction, 12)}  ${format(done)} of ${format(total)}`);
  } else {
    parts.push(format(done));
  }
  parts.push(`${format(rate)}/s`, ...details);
  if (total !== undefined && done < total) parts.push(`ETA ${formatDuration(remainingMs(state))}`);
  return `${label}  ${parts.join(' · ')}`;
}
