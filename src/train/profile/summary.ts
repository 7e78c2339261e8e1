/** Where the time of a step goes: each operator forward and backward, collectives, and what is in none of them. */

import type { DType } from '../../tensor/dtype.ts';
import type { Limits } from './limits.ts';
import type { Span } from './spans.ts';

/** All times are milliseconds, and like all other figures the sum over the steps that were recorded. */
export interface OperatorRow {
  readonly name: string;
  /** `forward`, `backward`, or another phase of the step. */
  readonly direction: string;
  readonly kind: 'operator' | 'phase' | 'collective';
  calls: number;
  /** Without the operators and collectives inside. */
  ms: number;
  /** In kernels. */
  kernelMs: number;
  flops: number;
  bytes: number;
  /** What its kernels would take at the limits of the machine; undefined where a limit was not measured. */
  idealMs: number | undefined;
  /** Of a collective, until the last rank had come; undefined where it is not known. */
  waitingMs: number | undefined;
}

export interface Summary {
  readonly steps: number;
  readonly stepMs: number;
  /** In kernels. */
  readonly kernelMs: number;
  /** Slowest first. */
  readonly rows: readonly OperatorRow[];
  /** In no row: the loop, the tape, the model's own TypeScript. */
  readonly outsideMs: number;
}

/** Phases that only hold operators; what they do beside is overhead. */
const passes: ReadonlySet<string> = new Set(['forward', 'backward']);

/** Milliseconds that a kernel needs at the least: for its arithmetic or for its memory, whichever is longer. */
export function idealMilliseconds(
  { flops, bytes, dtype }: { readonly flops: number; readonly bytes: number; readonly dtype: DType },
  limits: Limits,
): number | undefined {
  const moving = bytes / limits.bandwidth;
  if (flops === 0) return 1000 * moving;
  const rate = limits.matrix[dtype];
  return rate === undefined ? undefined : 1000 * Math.max(moving, flops / rate);
}

/**
 * @param spans of one rank, in the order in which they began
 * @param waitingOf milliseconds of a collective until the last rank had come
 */
export function summarize(
  spans: readonly Span[],
  limits: Limits,
  waitingOf: (span: Span) => number | undefined,
): Summary {
  const rows = new Map<string, OperatorRow>();
  let [steps, stepMs, kernelMs] = [0, 0, 0];
  /** The spans that the current one lies in, each with its row. */
  const open: { readonly span: Span; readonly row: OperatorRow | undefined }[] = [];
  let inStep = false;
  for (const span of spans) {
    // validation and the exchanges between steps are in the trace, but in no step
    if (span.depth === 0) inStep = span.kind === 'step';
    if (!inStep) continue;
    open.length = span.depth;
    const milliseconds = span.end - span.begin;
    const holder = open.findLast(({ row }) => row !== undefined)?.row;
    if (span.kind === 'step') {
      steps++;
      stepMs += milliseconds;
    }
    const own = rowOf(span, open, rows);
    if (own) {
      own.ms += milliseconds;
      if (holder) holder.ms -= milliseconds;
      if (span.collective?.part !== 'finish') own.calls++;
    }
    const row = own ?? holder;
    if (span.kernel && row) {
      kernelMs += milliseconds;
      row.kernelMs += milliseconds;
      row.flops += span.kernel.flops;
      row.bytes += span.kernel.bytes;
      row.idealMs = plus(row.idealMs, idealMilliseconds(span.kernel, limits));
    } else if (span.collective && own) {
      if (span.collective.part !== 'finish') own.bytes += span.collective.bytes;
      own.waitingMs = plus(own.waitingMs, waitingOf(span));
    }
    open.push({ span, row: own });
  }
  const all = [...rows.values()].sort((a, b) => b.ms - a.ms);
  return { steps, stepMs, kernelMs, rows: all, outsideMs: stepMs - all.reduce((sum, { ms }) => sum + ms, 0) };
}

const plus = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a + b;

/** The row that a span's time counts for; undefined where it is part of what it lies in. */
function rowOf(
  { kind, name, direction, collective }: Span,
  open: readonly { readonly span: Span; readonly row: OperatorRow | undefined }[],
  rows: Map<string, OperatorRow>,
): OperatorRow | undefined {
  const find = (rowKind: OperatorRow['kind'], title: string, side: string): OperatorRow => {
    const key = `${rowKind} ${title} ${side}`;
    const zeros = { calls: 0, ms: 0, kernelMs: 0, flops: 0, bytes: 0, idealMs: 0, waitingMs: 0 };
    const row = rows.get(key) ?? { name: title, direction: side, kind: rowKind, ...zeros };
    rows.set(key, row);
    return row;
  };
  switch (kind) {
    case 'operator':
      return find('operator', name, direction ?? '');
    case 'phase':
      return passes.has(name) ? undefined : find('phase', name, '');
    case 'collective':
      // a reduction may begin in one phase and end in another, so its row belongs to none
      return find('collective', `${name.split(' ')[0]}, ${collective?.group.split(' of ')[0]}`, '');
    case 'kernel':
      if (open.some(({ row }) => row)) return undefined;
      return find('operator', name, open.find(({ span }) => span.kind === 'phase')?.span.name ?? '');
    default:
      return undefined;
  }
}
