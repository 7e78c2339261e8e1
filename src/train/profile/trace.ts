/** Traces in Chrome's trace event format ("Trace Event Format", Google 2016), which Perfetto and chrome://tracing open. */

import { memoryKinds } from '../../tensor/allocator.ts';
import type { RankSpans, Span } from './spans.ts';

/** One event; times in microseconds. */
interface TraceEvent {
  readonly ph: 'X' | 'C' | 'M' | 'b' | 'e';
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/**
 * One process for each rank: nested spans, memory in use by kind as a counter, and each reduction that was begun and
 * finished later as a bar of its own track.
 */
export function traceOf(
  ranks: readonly RankSpans[],
  waitingOf: (span: Span) => number | undefined,
  notes: Readonly<Record<string, unknown>>,
): string {
  const origin = ranks.reduce(
    (first, { spans }) => Math.min(first, spans[0]?.begin ?? first),
    Number.POSITIVE_INFINITY,
  );
  const micros = (milliseconds: number): number => Math.round((milliseconds - origin) * 1e6) / 1e3;
  const lines = ranks.flatMap(({ rank, label, spans }) => {
    const place = { pid: rank, tid: 0 };
    const events: TraceEvent[] = [
      { ...place, ph: 'M', name: 'process_name', args: { name: label } },
      { ...place, ph: 'M', name: 'process_sort_index', args: { sort_index: rank } },
      { ...place, ph: 'M', name: 'thread_name', args: { name: 'training' } },
    ];
    for (const span of spans) {
      const [ts, end] = [micros(span.begin), micros(span.end)];
      const dur = Math.round((end - ts) * 1e3) / 1e3;
      const args = argumentsOf(span, waitingOf(span));
      events.push({ ...place, ph: 'X', name: titleOf(span), cat: span.kind, ts, dur, ...(args ? { args } : {}) });
      if (span.memory) {
        const bytes = Object.fromEntries(memoryKinds.map((kind, i) => [kind, span.memory?.[i] ?? 0]));
        events.push({ ...place, ph: 'C', name: 'memory in use', ts: end, args: bytes });
      }
      const { collective } = span;
      if (collective && collective.part !== 'whole') {
        const id = `${rank} ${collective.group} ${collective.number}`;
        const isStart = collective.part === 'start';
        const async = { ...place, name: span.name, cat: 'in flight', id };
        events.push(isStart ? { ...async, ph: 'b', ts } : { ...async, ph: 'e', ts: end });
      }
    }
    return events.map((event) => JSON.stringify(event));
  });
  return `{"displayTimeUnit":"ms","otherData":${JSON.stringify(notes)},"traceEvents":[\n${lines.join(',\n')}\n]}\n`;
}

function titleOf({ name, direction, collective }: Span): string {
  if (collective?.part === 'start') return `start ${name}`;
  return direction ? `${name} ${direction}` : name;
}

/** Bytes in 1 ms are 1e-6 GB/s. */
const perSecond = (amount: number, milliseconds: number): number => Math.round(amount / milliseconds / 1e4) / 100;

function argumentsOf(span: Span, waitingMs: number | undefined): Readonly<Record<string, unknown>> | undefined {
  const { kernel, collective } = span;
  const milliseconds = span.end - span.begin;
  if (kernel) {
    const { dtype, tensors, flops, bytes } = kernel;
    return {
      ...{ tensors, dtype, bytes, 'GB/s': perSecond(bytes, milliseconds) },
      ...(flops > 0 ? { flops, 'GFLOP/s': perSecond(flops, milliseconds) } : {}),
    };
  }
  if (!collective) return undefined;
  const { group, bytes, number } = collective;
  const moving = waitingMs === undefined ? undefined : milliseconds - waitingMs;
  return {
    ...{ group, number, bytes },
    ...(moving === undefined ? {} : { 'waiting ms': waitingMs, 'moving ms': moving }),
    ...(moving && bytes > 0 && collective.part !== 'start' ? { 'GB/s': perSecond(bytes, moving) } : {}),
  };
}
