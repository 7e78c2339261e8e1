/** How long ranks wait for each other in collectives: a call can only move data once the last rank of its group has come. */

import type { RankSpans, Span } from './spans.ts';

/** Clocks of other hosts are set by the barrier at the beginning, which all ranks leave within its own latency. */
export function onOneClock(ranks: readonly RankSpans[]): RankSpans[] {
  const [first] = ranks;
  return ranks.map((rank) => {
    if (!first || rank.host === first.host) return rank;
    const shift = first.begun - rank.begun;
    const spans = rank.spans.map((span) => ({ ...span, begin: span.begin + shift, end: span.end + shift }));
    return { ...rank, begun: first.begun, spans };
  });
}

const keyOf = ({ name, collective }: Span): string | undefined =>
  collective?.number === undefined ? undefined : `${collective.group} ${name} ${collective.number}`;

/**
 * @param ranks the spans of every rank, on one clock
 * @returns milliseconds of a collective's span before the last rank had come; undefined for sends and receives
 */
export function waitingTimes(ranks: readonly (readonly Span[])[]): (span: Span) => number | undefined {
  const lastArrival = new Map<string, number>();
  for (const span of ranks.flat()) {
    const key = keyOf(span);
    if (key === undefined || span.collective?.part === 'finish') continue;
    lastArrival.set(key, Math.max(lastArrival.get(key) ?? 0, span.begin));
  }
  return (span) => {
    const key = keyOf(span);
    const last = key === undefined ? undefined : lastArrival.get(key);
    if (last === undefined) return undefined;
    // the start of a reduction waits for nobody
    if (span.collective?.part === 'start') return 0;
    return Math.max(0, Math.min(last, span.end) - span.begin);
  };
}
