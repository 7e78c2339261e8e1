/**
 * How a run ends when a rank fails. The failing rank tells all others, who stop waiting and unwind; the first error is
 * reported once; then the launcher is told to end every process.
 *
 * First is who had heard of no other failure. Of several such ranks the lowest speaks.
 */

import type { Communicator } from '../communicator.ts';
import { type PlainError, plainError, RankFailure, restoreError } from '../errors.ts';
import { type Shim, shimStatus } from './shim.ts';

/** A failure's words must fit into one message that arrives without the sender's help. */
const announcedBytes = 3000;

/** How long a failing rank lets the others unwind. */
const graceMilliseconds = 1500;

/** How long a rank waits for the one that failed to end the run before it does so itself. */
const patienceMilliseconds = 3000;

/** Time for the launcher to pass on what was written last. */
const lastWordsMilliseconds = 300;

export interface EndOptions {
  readonly report: (error: unknown, rank: number) => void;
  readonly exitCode?: (error: unknown) => number;
}

/** Failures that other ranks announced, the lowest rank's first. */
export function announcements(shim: Shim): { readonly rank: number; readonly error: Error }[] {
  const buffer = Buffer.alloc(announcedBytes + 1);
  const found: { rank: number; error: Error }[] = [];
  for (let index = 0; ; index++) {
    const rank = shim.call('announcement', index, buffer, buffer.length);
    if (rank < 0) return found.sort((a, b) => a.rank - b.rank);
    const plain = JSON.parse(buffer.toString('utf8', 0, buffer.indexOf(0))) as PlainError;
    found.push({ rank, error: restoreError(plain) });
  }
}

/** An error in a message's room: without its stack, its longest words shortened. */
function announcementOf(error: unknown): Buffer {
  const plain = { ...plainError(error), stack: undefined };
  for (let room = announcedBytes; ; room = Math.floor(room / 2)) {
    const short = (text: string): string => (text.length > room ? `${text.slice(0, room)} …` : text);
    const remedy = plain.remedy === undefined ? undefined : short(plain.remedy);
    const bytes = Buffer.from(JSON.stringify({ ...plain, message: short(plain.message), remedy }));
    if (bytes.length <= announcedBytes) return bytes;
  }
}

const sleep = (milliseconds: number): void =>
  void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

/** Waits until every other rank has announced a failure or acknowledged ours. */
function awaitOthers(shim: Shim, milliseconds: number): boolean {
  const all = new Int32Array(1);
  return shim.call('await_others', milliseconds, all) === shimStatus.fine && all[0] === 1;
}

/** Ends the run because of `error`; see the head of this file. */
export function endTogether(shim: Shim, world: Communicator, error: unknown, options: EndOptions): never {
  const exitCode = options.exitCode?.(error) ?? 1;
  shim.call('acknowledge');
  const heardBefore = announcements(shim);
  if (heardBefore.length > 0 || error instanceof RankFailure) return awaitTheEnd(shim, exitCode);

  const words = announcementOf(error);
  shim.call('announce', words, words.length);
  awaitOthers(shim, graceMilliseconds);
  const others = announcements(shim);
  const lowest = others[0];
  const speaks = lowest === undefined || world.rank < lowest.rank;
  if (speaks) options.report(error, world.rank);
  if (others.length === world.size - 1 && shim.call('pending') === 0) {
    // All failed at once, as they do when the user stops the run: nobody is left to be ended.
    shim.call('finalize');
    process.exit(exitCode);
  }
  if (!speaks) return awaitTheEnd(shim, exitCode);
  sleep(lastWordsMilliseconds);
  return abort(shim, exitCode);
}

/** Answers those that failed until one of them ends the run. */
function awaitTheEnd(shim: Shim, exitCode: number): never {
  const end = performance.now() + patienceMilliseconds;
  while (performance.now() < end) {
    shim.call('acknowledge');
    sleep(20);
  }
  return abort(shim, exitCode);
}

function abort(shim: Shim, exitCode: number): never {
  shim.abort(exitCode === 0 ? 1 : exitCode);
  process.exit(exitCode);
}
