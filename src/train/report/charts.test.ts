/** Charts: scales and ticks, what a curve keeps, and pictures that stay within their frame. */

import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { displayWidth } from '../../base/format.ts';
import { type Chart, strokes, tightAxis, valueAxis } from './chart.ts';
import { lineChart } from './svg-chart.ts';
import { terminalChart } from './terminal-chart.ts';

const labels = (axis: { ticks: readonly { label: string }[] }): string[] => axis.ticks.map((tick) => tick.label);

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

const chart: Chart = {
  title: 'Loss & "perplexity" <b>',
  subtitle: 'a run',
  xLabel: 'iteration',
  yLabel: 'lm loss',
  series: [
    { label: 'training', x: range(1000), y: range(1000).map((x) => 2 + 8 / Math.sqrt(x)) },
    { label: 'validation', x: [250, 500, 1000], y: [2.6, 2.4, 2.3], markers: true },
  ],
  baselines: [{ label: 'unigram', value: 6.5 }],
};

test('ticks are round numbers with no more decimals than they need', () => {
  expect(labels(valueAxis([2.3, 10.9], 6))).toEqual(['2', '4', '6', '8', '10', '12']);
  expect(labels(valueAxis([3.01, 3.09], 4))).toEqual(['3.00', '3.02', '3.04', '3.06', '3.08', '3.10']);
  expect(labels(valueAxis([0, 9], 4))).toEqual(['0', '2.5', '5.0', '7.5', '10.0']);
  expect(labels(valueAxis([-1, 1], 4))).toEqual(['-1.0', '-0.5', '0', '0.5', '1.0']);
  expect(labels(tightAxis([1, 300000], 6))).toEqual(['50k', '100k', '150k', '200k', '250k', '300k']);
  expect(labels(tightAxis([1, 3], 8))).toEqual(['1', '2', '3']);
  expect(labels(tightAxis([7], 8))).toEqual(['6', '7', '8']);
});

test('axes hold all values, and none, one or useless values do no harm', () => {
  for (const values of [[], [5], [0], [-3, -3], [Number.NaN, Number.POSITIVE_INFINITY], [1e-300, 1e300], [0, -1]]) {
    for (const axis of [valueAxis(values, 5), tightAxis(values, 5)]) {
      expect(axis.low).toBeLessThan(axis.high);
      expect(axis.ticks.length).toBeLessThan(20);
      expect(axis.position(axis.low)).toBeCloseTo(0, 9);
      expect(axis.position(axis.high)).toBeCloseTo(1, 9);
    }
  }
});

test('thinning keeps every spike; gaps break a curve', () => {
  const y = range(100000).map(() => 3);
  y[54321] = 9;
  y[77777] = 1;
  const series = { label: 'a', x: range(100000), y };
  const [stroke = []] = strokes(series, tightAxis(series.x, 5), valueAxis(y, 5), 500);
  expect(stroke.length).toBeLessThan(2100);
  expect(Math.max(...stroke.map((point) => point.y))).toBeGreaterThan(0.85);
  expect(Math.min(...stroke.map((point) => point.y))).toBeLessThan(0.15);
  const broken = { label: 'a', x: [1, 2, 3, 4, 5], y: [1, 2, Number.NaN, 3, Number.POSITIVE_INFINITY] };
  const parts = strokes(broken, tightAxis(broken.x, 5), valueAxis(broken.y, 5), 500);
  expect(parts.map((part) => part.length)).toEqual([2, 1]);
});

test('the SVG is well formed, escapes its words and draws inside its frame', () => {
  const svg = lineChart(chart, { width: 600, height: 400 });
  expect(svg).toContain('<title>Loss &amp; &quot;perplexity&quot; &lt;b&gt;</title>');
  expect(svg).toContain('prefers-color-scheme:dark');
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  const open = [...svg.matchAll(/<([a-z]+)(?:\s[^>]*[^/])?>/g)].map((match) => match[1]);
  const close = [...svg.matchAll(/<\/([a-z]+)>/g)].map((match) => match[1]);
  expect(open.sort()).toEqual(close.sort());
  const path = /class="line thin c0" d="([^"]*)"/.exec(svg)?.[1] ?? '';
  const points = path
    .split(/[ML]/)
    .filter(Boolean)
    .map((point) => point.split(' ').map(Number));
  expect(points.length).toBeGreaterThan(400);
  for (const [x = -1, y = -1] of points) {
    expect(x >= 46 && x <= 573).toBe(true);
    expect(y >= 103 && y <= 343).toBe(true);
  }
  expect(svg.match(/<circle/g)).toHaveLength(4);
  expect(svg.match(/class="baseline"/g)).toHaveLength(1);
  expect(lineChart({ ...chart, series: [] })).not.toMatch(/NaN|Infinity|undefined/);
});

test('the terminal chart fits its size and shows where the loss falls', () => {
  const lines = terminalChart(chart).split('\n');
  expect(lines).toHaveLength(12);
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(60);
  expect(lines[0]).toBe('lm loss: ⠤⠤ training  ◆ validation  ╌╌ unigram');
  expect(
    lines
      .slice(1, 10)
      .map((line) => line.slice(0, line.search(/[┤│]/)).trim())
      .filter(Boolean),
  ).toEqual(['10', '8', '6', '4', '2']);
  expect(lines[1]).toMatch(/^10 ┤[\u2801-\u28ff]/);
  expect(lines.join('\n').match(/◆/g)).toHaveLength(4);
  expect(lines.filter((line) => line.includes('╌╌╌╌'))).toHaveLength(1);
  expect(lines[11]).toMatch(/^iteration .*500 .*1000$/);
  const coloured = terminalChart(chart, { colour: true });
  expect(stripVTControlCharacters(coloured)).toBe(lines.join('\n'));
  expect(coloured).toContain('\x1b[34m');
  for (const [columns, rows] of [
    [20, 6],
    [120, 30],
  ] as const) {
    const other = terminalChart(chart, { columns, rows }).split('\n');
    expect(other).toHaveLength(rows);
    for (const line of other) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
  }
  expect(terminalChart({ ...chart, series: [], baselines: [] }).split('\n')).toHaveLength(12);
});
