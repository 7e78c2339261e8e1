/** The profile on a terminal: each operator's time, share of the step, rate, and how near it comes to the machine's limits. */

import type { DType } from '../../tensor/dtype.ts';
import type { Limits } from './limits.ts';
import type { OperatorRow, Summary } from './summary.ts';

/** `129 GFLOP/s`, `20.1 GB/s`, `3.4 MB/s`. */
export function formatRate(perSecond: number, unit: 'FLOP' | 'B'): string {
  if (perSecond < 1e8) return `${(perSecond / 1e6).toFixed(1)} M${unit}/s`;
  return `${(perSecond / 1e9).toFixed(perSecond >= 1e11 ? 0 : 1)} G${unit}/s`;
}

export const percentOf = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

/** `f32 129 GFLOP/s, bf16 …; memory 20.1 GB/s`. */
export function limitWords({ matrix, bandwidth }: Limits): string {
  const rates = Object.entries(matrix) as [DType, number][];
  const products = rates.map(([dtype, rate]) => `${dtype} products ${formatRate(rate, 'FLOP')}`);
  return [...products, `memory ${formatRate(bandwidth, 'B')}`].join(', ');
}

/** `linear backward`; phases and kernels stand alone. */
export const titleOf = ({ name, direction }: OperatorRow): string => (direction ? `${name} ${direction}` : name);

/** The speed of a row's kernels, or of a collective once all ranks had come. */
export function rateOf(row: OperatorRow): { readonly perSecond: number; readonly unit: 'FLOP' | 'B' } | undefined {
  const isCollective = row.kind === 'collective';
  const seconds = (isCollective ? row.ms - (row.waitingMs ?? Number.NaN) : row.ms) / 1000;
  const [amount, unit] = row.flops > 0 ? ([row.flops, 'FLOP'] as const) : ([row.bytes, 'B'] as const);
  return amount > 0 && seconds > 0 ? { perSecond: amount / seconds, unit } : undefined;
}

/** Time at the machine's limits over time taken; undefined for what has no limit of its own. */
export const shareOfLimit = ({ idealMs, ms, flops, bytes, kind }: OperatorRow): number | undefined =>
  kind === 'collective' || idealMs === undefined || ms <= 0 || flops + bytes === 0 ? undefined : idealMs / ms;

/** Rows below this share of the step are added up in one line. */
const smallest = 0.001;
const widths = [35, 9, 8, 6, 13, 9];

/** Lines of at most 80 columns. */
export function profileTable({ steps, stepMs, kernelMs, rows, outsideMs }: Summary, limits: Limits): string[] {
  const shown = rows.filter(({ ms }) => ms >= smallest * stepMs);
  const rest = rows.filter(({ ms }) => ms < smallest * stepMs);
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('')
      .trimEnd();
  const perStep = (ms: number): string => (ms / steps).toFixed(ms / steps >= 100 ? 0 : 2);
  const waiting = rows.reduce((sum, row) => sum + (row.kind === 'collective' ? (row.waitingMs ?? 0) : 0), 0);
  const collectives = rows.reduce((sum, row) => sum + (row.kind === 'collective' ? row.ms : 0), 0);
  const restMs = rest.reduce((sum, { ms }) => sum + ms, 0);
  return [
    `measured here: ${limitWords(limits)}`,
    line(['operator', 'ms', 'step', 'calls', 'rate', 'of limit']),
    ...shown.map((row) => {
      const [rate, share] = [rateOf(row), shareOfLimit(row)];
      return line([
        ...[titleOf(row), perStep(row.ms), percentOf(row.ms, stepMs), (row.calls / steps).toFixed(0)],
        ...[rate ? formatRate(rate.perSecond, rate.unit) : '', share === undefined ? '' : percentOf(share, 1)],
      ]);
    }),
    ...(rest.length > 0 ? [line([`${rest.length} others`, perStep(restMs), percentOf(restMs, stepMs)])] : []),
    line(['in no operator', perStep(outsideMs), percentOf(outsideMs, stepMs)]),
    line([`the step (mean of ${steps})`, perStep(stepMs), '100.0 %']),
    `in kernels ${percentOf(kernelMs, stepMs)}` +
      (collectives > 0
        ? `, in collectives ${percentOf(collectives, stepMs)} (waiting for other ranks ${percentOf(waiting, stepMs)})`
        : ''),
  ];
}
