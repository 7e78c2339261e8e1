/** The progress line on a terminal and on a pipe, with a clock of the test's own. */

import { describe, expect, test } from 'vitest';
import { formatBytes } from './format.ts';
import { ProgressLine, progressBar, progressText, remainingMs } from './progress.ts';

function recorder(isTTY: boolean, columns?: number) {
  const written: string[] = [];
  const clock = { ms: 0 };
  return {
    written,
    clock,
    options: {
      stream: { isTTY, columns, write: (text: string) => written.push(text) },
      now: () => clock.ms,
    },
  };
}

describe('ProgressLine', () => {
  test('rewrites one line on a terminal, no oftener than the refresh time, within its columns', () => {
    const { written, clock, options } = recorder(true, 20);
    using line = new ProgressLine(options);
    let asked = 0;
    for (clock.ms = 0; clock.ms < 250; clock.ms += 10) {
      line.update(() => {
        asked++;
        return `step ${clock.ms} with a very long tail`;
      });
    }
    expect(asked).toBe(3);
    expect(written).toEqual([
      '\rstep 0 with a very…\x1b[K',
      '\rstep 100 with a ve…\x1b[K',
      '\rstep 200 with a ve…\x1b[K',
    ]);
    line.log('kept');
    expect(written.at(-1)).toBe('\rkept\x1b[K\nstep 200 with a ve…');
    line.finish('done\nat last');
    expect(written.slice(-2)).toEqual(['\rdone at last\x1b[K', '\n']);
    line.update('too late');
    line.finish();
    expect(written.at(-1)).toBe('\n');
  });

  test('elsewhere prints whole lines now and then, without escape sequences', () => {
    const { written, clock, options } = recorder(false);
    {
      using line = new ProgressLine({ ...options, plainIntervalMs: 1000 });
      for (clock.ms = 0; clock.ms <= 2500; clock.ms += 100) line.update(`at ${clock.ms}`);
      line.log('word');
    }
    expect(written).toEqual(['at 1000\n', 'at 2000\n', 'word\n']);
  });
});

describe('progress text', () => {
  test('tells share, rate and the time left', () => {
    const state = { label: 'preprocess', done: 45e6, total: 100e6, elapsedMs: 9000, format: formatBytes };
    expect(progressText(state)).toBe('preprocess   45% █████▍░░░░░░  45.0 MB of 100 MB · 5.00 MB/s · ETA 11.0 s');
    expect(progressText({ ...state, total: undefined, details: ['3 bad lines'] })).toBe(
      'preprocess  45.0 MB · 5.00 MB/s · 3 bad lines',
    );
    expect(progressText({ ...state, done: 99_999_999 })).toContain(' 99% ');
    expect(progressText({ ...state, done: 100e6 })).toMatch(/100% █{12} {2}100 MB of 100 MB · 11.1 MB\/s$/);
  });

  test('work done before a resume does not count into the rate', () => {
    expect(remainingMs({ done: 60, total: 100, elapsedMs: 1000, startedAt: 50 })).toBe(4000);
    expect(remainingMs({ done: 50, total: 100, elapsedMs: 1000, startedAt: 50 })).toBeNaN();
  });

  test('a bar is always as wide as asked', () => {
    for (const fraction of [-1, 0, 0.01, 0.3333, 0.999, 1, 2, Number.NaN])
      expect([...progressBar(fraction, 9)]).toHaveLength(9);
    expect(progressBar(0, 3)).toBe('░░░');
    expect(progressBar(1, 3)).toBe('███');
  });
});
