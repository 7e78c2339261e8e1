import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../base/errors.ts';
import { CollectiveError, RankFailure } from './errors.ts';
import { type LaunchOptions, launch } from './launch.ts';

const child = new URL('./launch.child.ts', import.meta.url);

/** A stream that keeps what is written. */
function collector() {
  const chunks: Buffer[] = [];
  return { write: (text: Uint8Array) => chunks.push(Buffer.from(text)), text: () => Buffer.concat(chunks).toString() };
}

/** The failure of a launch, which must come within the five seconds that are promised. */
async function failureOf(size: number, scenario: string, options: LaunchOptions = {}): Promise<RankFailure> {
  const start = performance.now();
  const error: unknown = await launch(size, child, scenario, options).then(
    () => new Error('the launch succeeded'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof RankFailure)) throw error;
  expect(performance.now() - start).toBeLessThan(5000);
  return error;
}

describe('launch', () => {
  it('gives what the ranks returned, in rank order', async () => {
    const results = await launch(3, child, 'sum', { threadsPerRank: 7 });
    expect(results).toEqual([0, 1, 2].map((rank) => ({ rank, size: 3, sum: [3, 3, 3], threads: '7' })));
  });

  it('takes a path too, and runs one rank', async () => {
    expect(await launch(1, child.pathname, 'sum')).toMatchObject([{ rank: 0, size: 1, sum: [1, 1, 1] }]);
  });

  it.each([0, -1, 1.5])('refuses %d ranks', async (size) => {
    await expect(launch(size, child)).rejects.toThrow(UsageError);
  });

  it('says what is wrong with a module', async () => {
    const missing = await launch(2, new URL('./missing.ts', import.meta.url)).catch((error: unknown) => error);
    expect(String(missing)).toMatch(/rank \d failed: .*missing\.ts/);
    const noDefault = await launch(2, new URL('./errors.ts', import.meta.url)).catch((error: unknown) => error);
    expect(String(noDefault)).toContain('no function as its default export');
    await expect(launch(2, child, () => {})).rejects.toThrow(/handed to the ranks/);
  });

  it('does not wait for timers that a rank left', async () => {
    const start = performance.now();
    expect(await launch(2, child, 'leaves a timer')).toEqual(['done', 'done']);
    expect(performance.now() - start).toBeLessThan(4000);
  });

  it('passes the output on in order, also from a blocked event loop', async () => {
    const [stdout, stderr] = [collector(), collector()];
    await launch(2, child, 'prints', { stdout, stderr });
    expect(stdout.text()).toBe(Array.from({ length: 100 }, (_, line) => `line ${line}\n`).join(''));
    expect(stderr.text().split('\n').toSorted()).toEqual(['', 'rank 0', 'rank 1']);
  });

  it('stops all ranks at the same iteration when asked to', async () => {
    const asked = new AbortController();
    const stdout = { write: () => asked.abort() };
    const results = await launch<number>(3, child, 'stops when asked', { signal: asked.signal, stdout });
    expect(new Set(results).size).toBe(1);
    expect(results[0]).toBeGreaterThan(20);
    expect(await launch(2, child, 'stops when asked', { signal: AbortSignal.abort() })).toEqual([0, 0]);
  });
});

describe('a rank that fails', () => {
  it('ends the run with its error, its type and its remedy', async () => {
    const error = await failureOf(3, 'throws');
    expect(error).toMatchObject({ rank: 2, message: 'rank 2 failed: line 7 is no JSON', remedy: 'Mend line 7.' });
    expect(error.cause).toBeInstanceOf(DataError);
  });

  it.each([
    ['throws later', 1, /enough/],
    ['throws while another spins', 1, /first error/],
    ['throws while another awaits', 1, /first error/],
    ['throws asynchronously', 1, /out of a timer/],
    ['exits', 1, /ended with exit code 0 before/],
    ['runs out of memory', 1, /memory/],
    ['returns what cannot be cloned', 1, /cannot be handed/],
    ['forgets to finish', undefined, /1 reductions? started and not finished/],
    ['goes on after a failure', 1, /^rank 1 failed: first error$/],
  ])('%s', async (scenario, rank, message) => {
    const error = await failureOf(2, scenario, { resourceLimits: { maxOldGenerationSizeMb: 60 } });
    if (rank !== undefined) expect(error.rank).toBe(rank);
    expect(error.message).toMatch(message);
  });

  it('ends three others that are blocked, spin and sleep', async () => {
    expect((await failureOf(4, 'throws while another spins')).message).toBe('rank 3 failed: first error');
  });

  it('is heard to its last words', async () => {
    const stdout = collector();
    const error = await failureOf(1, 'prints and exits', { stdout });
    expect(stdout.text()).toBe('last words of 0\n');
    expect(error.message).toContain('exit code 3');
  });
});

describe('ranks that disagree', () => {
  it.each([
    ['returns early', /rank [01] waits in barrier #1 of the world of ranks 0, 1, 2 for rank 2, whose .* returned/],
    ['other operation', /rank [01]: all-reduce sum f32 \[2000\].* #2; rank 2: broadcast f32 \[2000\] from rank 1.* #2/],
    ['other size', /rank [01]: all-reduce max f32 \[2000\].* #1; rank 2: all-reduce max f32 \[2001\].* #1/],
    ['other type', /rank [01]: all-reduce sum f32 \[5\] #1; rank 2: all-reduce sum i32 \[5\] #1/],
    ['other root', /rank [01]: broadcast f32 \[5\] from rank 1 #1; rank 2: broadcast f32 \[5\] from rank 0 #1/],
    ['other message', /rank 0 sends a message f32 \[3\].*, and rank 2 expects a message f32 \[4\]/],
    [
      'waits in a circle',
      /in vain: rank 0 waits in send f32 \[3\] to rank 1 .* for rank 1; rank 1 .*; rank 2 .* for rank 0/,
    ],
    ['other groups', /in vain: rank 0 waits in barrier #1 of the group a.*; rank 2 waits in barrier #1 of the group b/],
  ])('are told: %s', async (scenario, message) => {
    const error = await failureOf(3, scenario);
    expect(error.cause).toBeInstanceOf(CollectiveError);
    expect(error.message).toMatch(message);
    expect(error.remedy).toMatch(/same calls/);
  });

  it.each([
    ['other operation', /rank 0: all-reduce sum f32 \[2000\] #2 at .*launch\.child\.ts:\d+.*\n.*rank 1: broadcast/],
    ['other shape', /rank 0: all-reduce sum f32 \[3, 2\] #1 at .*\n.*rank 1: all-reduce sum f32 \[2, 3\] #1 at/],
  ])('are told the lines with debugCollectives: %s', async (scenario, message) => {
    const error = await failureOf(2, scenario, { debugCollectives: true });
    expect(error.cause).toBeInstanceOf(CollectiveError);
    expect(error.message).toMatch(message);
  });

  it('in shape alone work on without debugCollectives', async () => {
    expect(await launch(2, child, 'other shape')).toEqual([undefined, undefined]);
  });
});
