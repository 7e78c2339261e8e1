/** A line chart of text, in Braille dots: eight to a character, for any terminal with Unicode. */

import { displayWidth, truncateToWidth } from '../../base/format.ts';
import {
  type Axis,
  type Chart,
  type ChartSeries,
  shownPositions,
  shownValues,
  strokes,
  tightAxis,
  type UnitPoint,
  valueAxis,
} from './chart.ts';

export interface TerminalSize {
  /** Everything included; default 60 × 12. */
  readonly columns?: number;
  readonly rows?: number;
  /** Colour by ANSI sequences; default no. */
  readonly colour?: boolean;
}

/** Dot bits of a Braille cell by row and column. Source: Unicode 6.2, Braille Patterns. */
const dots = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

const marks = ['●', '◆', '▲', '■'];
const ansi = [34, 33, 32, 35];

/** One character of the picture, and which series it belongs to. */
interface Cell {
  bits: number;
  mark: string;
  series: number;
}

/**
 * Draws a chart in at most `rows` lines of at most `columns` characters: a legend, the curves, the axis and its labels.
 *
 * The first series, and any without `markers`, is a curve of dots; one with `markers` shows its points as ● ◆ ▲; a baseline is a dashed line.
 */
export function terminalChart(chart: Chart, size: TerminalSize = {}): string {
  const { columns = 60, rows = 12, colour = false } = size;
  const height = Math.max(rows - 3, 2);
  const yAxis = evenAxis(chart, height);
  const gutter = Math.max(...yAxis.ticks.map((tick) => tick.label.length), 1) + 2;
  const width = Math.max(columns - gutter, 8);
  const xAxis = tightAxis(shownPositions(chart), Math.max(Math.floor(width / 12), 1));
  const cells = Array.from({ length: height }, () =>
    Array.from({ length: width }, (): Cell => ({ bits: 0, mark: '', series: -1 })),
  );

  for (const baseline of chart.baselines ?? []) {
    const row = rowOf(yAxis.position(baseline.value), height);
    for (const cell of cells[row] ?? []) cell.mark = '╌';
  }
  // Later series are drawn over earlier ones; points over curves.
  for (const [index, series] of chart.series.entries()) {
    if (series.markers !== true) drawCurve(cells, series, index, xAxis, yAxis);
  }
  for (const [index, series] of chart.series.entries()) {
    if (series.markers === true) drawMarks(cells, series, index, xAxis, yAxis);
  }

  const labels = new Map(yAxis.ticks.map((tick) => [rowOf(yAxis.position(tick.value), height), tick.label]));
  const body = cells.map((row, index) => {
    const label = labels.get(index);
    return `${(label ?? '').padStart(gutter - 2)} ${label === undefined ? '│' : '┤'}${row.map((cell) => paint(cell, colour)).join('')}`.trimEnd();
  });
  return [legendLine(chart, columns, colour), ...body, ...xLines(chart, xAxis, gutter, width)].join('\n');
}

/** An axis whose ticks fall on rows at even distances, where there is one. */
function evenAxis(chart: Chart, height: number): Axis {
  const values = [...shownValues(chart)];
  const axes = [4, 5, 3, 6, 2].map((count) => valueAxis(values, Math.min(count, height - 1)));
  const even = axes.find((axis) => axis.ticks.length > 2 && (height - 1) % (axis.ticks.length - 1) === 0);
  const fallback = axes[0] as Axis;
  return even ?? fallback;
}

const rowOf = (position: number, height: number): number =>
  Math.min(Math.max(Math.round((1 - position) * (height - 1)), 0), height - 1);

function paint(cell: Cell, colour: boolean): string {
  const text = cell.bits > 0 ? String.fromCodePoint(0x2800 + cell.bits) : cell.mark === '' ? ' ' : cell.mark;
  return tint(text, cell.series, colour);
}

const tint = (text: string, series: number, colour: boolean): string =>
  colour && series >= 0 ? `\x1b[${ansi[series % ansi.length] ?? 34}m${text}\x1b[0m` : text;

/** Draws on a grid of 2 × 4 dots a cell. */
function drawCurve(cells: Cell[][], series: ChartSeries, index: number, xAxis: Axis, yAxis: Axis): void {
  const [across, down] = [(cells[0]?.length ?? 0) * 2, cells.length * 4];
  const dot = (x: number, y: number): void => {
    const cell = cells[y >> 2]?.[x >> 1];
    if (cell === undefined) return;
    cell.bits |= dots[(y & 3) as 0 | 1 | 2 | 3][(x & 1) as 0 | 1];
    cell.series = index;
  };
  // The middle of a row of cells is where a baseline or a tick of the same value is, so curve and label agree to half a row.
  const at = (point: UnitPoint): [number, number] => [
    Math.round(point.x * (across - 1)),
    Math.min(Math.max(Math.round((1 - point.y) * (down - 4) + 1.5), 0), down - 1),
  ];
  for (const stroke of strokes(series, xAxis, yAxis, across)) {
    let [x, y] = at(stroke[0] ?? { x: 0, y: 0 });
    dot(x, y);
    for (const point of stroke.slice(1)) {
      const [endX, endY] = at(point);
      const steps = Math.max(Math.abs(endX - x), Math.abs(endY - y));
      for (let step = 1; step <= steps; step++)
        dot(Math.round(x + ((endX - x) * step) / steps), Math.round(y + ((endY - y) * step) / steps));
      [x, y] = [endX, endY];
    }
  }
}

function drawMarks(cells: Cell[][], series: ChartSeries, index: number, xAxis: Axis, yAxis: Axis): void {
  const width = cells[0]?.length ?? 0;
  for (const point of strokes(series, xAxis, yAxis, width).flat()) {
    const cell = cells[rowOf(point.y, cells.length)]?.[Math.round(point.x * (width - 1))];
    if (cell === undefined) continue;
    cell.bits = 0;
    cell.mark = marks[index % marks.length] ?? '●';
    cell.series = index;
  }
}

function legendLine(chart: Chart, columns: number, colour: boolean): string {
  const entries = [
    ...chart.series.map((series, index) => ({
      mark: series.markers === true ? (marks[index % marks.length] ?? '●') : '⠤⠤',
      label: series.label,
      index,
    })),
    ...(chart.baselines ?? []).map((baseline) => ({ mark: '╌╌', label: baseline.label, index: -1 })),
  ];
  const plain = `${chart.yLabel}: ${entries.map((entry) => `${entry.mark} ${entry.label}`).join('  ')}`;
  if (!colour || displayWidth(plain) > columns) return truncateToWidth(plain, columns);
  return `${chart.yLabel}: ${entries.map((entry) => tint(`${entry.mark} ${entry.label}`, entry.index, colour)).join('  ')}`;
}

function xLines(chart: Chart, xAxis: Axis, gutter: number, width: number): [string, string] {
  const line = Array.from({ length: width }, () => '─');
  const labels = Array.from({ length: gutter + width }, () => ' ');
  let free = 0;
  const put = (text: string, start: number): boolean => {
    if (start < free || start + text.length > labels.length) return false;
    for (const [offset, character] of [...text].entries()) labels[start + offset] = character;
    free = start + text.length + 1;
    return true;
  };
  for (const tick of xAxis.ticks) {
    const column = Math.round(xAxis.position(tick.value) * (width - 1));
    line[column] = '┬';
    const start = gutter + column - Math.floor(tick.label.length / 2);
    // The last label may have to step back from the edge.
    put(tick.label, Math.min(start, labels.length - tick.label.length));
  }
  // The axis says what it counts at the left edge, or else in the middle of a gap wide enough that it seems to belong to no tick.
  const text = labels.join('');
  const wanted = chart.xLabel.length + 6;
  const gap = text.lastIndexOf(' '.repeat(wanted));
  const start = text.startsWith(' '.repeat(chart.xLabel.length + 3)) ? 0 : gap + 3;
  if (start === 0 || gap >= 0) labels.splice(start, chart.xLabel.length, ...chart.xLabel);
  return [`${' '.repeat(gutter - 1)}└${line.join('')}`, labels.join('').trimEnd()];
}
