/** What a chart shows, and its scales: the same for the SVG and for the terminal. */

/** One curve. Points whose y is no finite number leave a gap. */
export interface ChartSeries {
  readonly label: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Also mark each point, for curves of few points such as a validation loss. */
  readonly markers?: boolean;
}

/** A level to compare with, drawn across the chart: the loss of a unigram model, say. */
export interface ChartBaseline {
  readonly label: string;
  readonly value: number;
}

export interface Chart {
  readonly title: string;
  readonly subtitle?: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly ChartSeries[];
  readonly baselines?: readonly ChartBaseline[];
}

export interface Tick {
  readonly value: number;
  readonly label: string;
}

/** An axis: its ends, its ticks, and where a value lies on it (0 at the low end, 1 at the high end). */
export interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly Tick[];
  position(value: number): number;
}

/** The step of 1, 2, 2.5 or 5 times a power of ten that cuts `range` into about `count` parts. */
function niceStep(range: number, count: number): number {
  const rough = range / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 2.5, 5, 10].find((candidate) => candidate * power >= rough * 0.999) ?? 10;
  return factor * power;
}

/** A tick's figure with as many decimals as its step needs; thousands and millions by their letters once all ticks are large. */
function tickLabel(value: number, step: number): string {
  const [divisor, suffix] = step >= 1e6 ? [1e6, 'M'] : step >= 1000 ? [1000, 'k'] : [1, ''];
  if (value === 0) return '0';
  const scaledStep = step / divisor;
  // A quarter step needs one decimal more than its power of ten.
  const exponent = Math.floor(Math.log10(scaledStep) + 1e-9);
  const quarter = Math.abs(scaledStep / 10 ** exponent - 2.5) < 1e-6 ? 1 : 0;
  return `${(value / divisor).toFixed(Math.max(quarter - exponent, 0))}${suffix}`;
}

/** Ticks at multiples of a nice step inside `[low, high]`. */
function linearTicks(low: number, high: number, count: number): Tick[] {
  const step = niceStep(high - low, count);
  const ticks: Tick[] = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) {
    const value = index * step;
    ticks.push({ value, label: tickLabel(value, step) });
  }
  return ticks;
}

function linearAxis(low: number, high: number, ticks: readonly Tick[]): Axis {
  return { low, high, ticks, position: (value) => (value - low) / (high - low) };
}

/** An axis that ends where the values end, for iterations; whole numbers have whole ticks. */
export function tightAxis(values: Iterable<number>, tickCount: number): Axis {
  const all = [...values];
  const whole = all.every(Number.isInteger);
  const [first, last] = extent(all);
  const [low, high] = whole && first === last ? [first - 1, last + 1] : widened([first, last]);
  const ticks = linearTicks(low, high, tickCount).filter((tick) => !whole || Number.isInteger(tick.value));
  // Relabelled, because a step below one gives whole numbers decimals.
  return linearAxis(
    low,
    high,
    whole && high - low < tickCount ? ticks.map(({ value }) => ({ value, label: String(value) })) : ticks,
  );
}

/** An axis that ends at ticks, for losses. */
export function valueAxis(values: Iterable<number>, tickCount: number): Axis {
  const [low, high] = widened(extent(values));
  const step = niceStep(high - low, tickCount);
  const [first, last] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  return linearAxis(first, last, linearTicks(first, last, Math.round((last - first) / step)));
}

/** No loss worth drawing is larger; beyond it, sums of an axis' ends would overflow. */
const largestShown = 1e300;

/** The smallest and the largest of the values that can be shown. */
function extent(values: Iterable<number>): [low: number, high: number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!(Math.abs(value) <= largestShown)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [1, 1];
}

/** A range with something in it: a single value is put in the middle of one. */
function widened([low, high]: [number, number]): [number, number] {
  if (high - low > Math.abs(high) * 1e-9) return [low, high];
  const half = low === 0 ? 1 : Math.abs(low) * 0.1;
  return [low - half, high + half];
}

/** All y values that must be on the chart. */
export function* shownValues(chart: Chart): Iterable<number> {
  for (const series of chart.series) yield* series.y;
  for (const baseline of chart.baselines ?? []) yield baseline.value;
}

/** All x values that must be on the chart. */
export function* shownPositions(chart: Chart): Iterable<number> {
  for (const series of chart.series) yield* series.x;
}

/** A point on the unit square, x to the right and y up. */
export interface UnitPoint {
  readonly x: number;
  readonly y: number;
}

/**
 * A curve as unbroken strokes on the unit square. Where more than a few points share one of `columns`, only the first, the lowest,
 * the highest and the last of them are kept: the picture is the same, nothing is smoothed.
 */
export function strokes(series: ChartSeries, xAxis: Axis, yAxis: Axis, columns: number): UnitPoint[][] {
  const result: UnitPoint[][] = [];
  let stroke: UnitPoint[] = [];
  let column: UnitPoint[] = [];
  let columnIndex = -1;
  const endColumn = (): void => {
    if (column.length <= 4) stroke.push(...column);
    else stroke.push(...extremes(column));
    column = [];
  };
  const endStroke = (): void => {
    endColumn();
    if (stroke.length > 0) result.push(stroke);
    stroke = [];
  };
  for (const [index, value] of series.y.entries()) {
    const point = { x: xAxis.position(series.x[index] ?? Number.NaN), y: yAxis.position(value) };
    if (!Number.isFinite(point.x) || !Number.isFinite(point.y)) {
      endStroke();
      continue;
    }
    const here = Math.floor(point.x * columns);
    if (here !== columnIndex) endColumn();
    columnIndex = here;
    column.push(point);
  }
  endStroke();
  return result;
}

function extremes(points: readonly UnitPoint[]): UnitPoint[] {
  let lowest = 0;
  let highest = 0;
  for (const [index, point] of points.entries()) {
    if (point.y < (points[lowest] as UnitPoint).y) lowest = index;
    if (point.y > (points[highest] as UnitPoint).y) highest = index;
  }
  const kept = new Set([0, lowest, highest, points.length - 1]);
  return points.filter((_, index) => kept.has(index));
}
