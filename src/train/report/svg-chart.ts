/** A line chart as a standalone SVG that reads well on light and on dark pages. */

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

export interface SvgSize {
  readonly width?: number;
  readonly height?: number;
}

/** Colours that can be told apart, also by the colour-blind and also on dark ground. Source: the Okabe-Ito palette, a little deepened. */
const colours = [
  { light: '#0a6ebd', dark: '#5db2f2' },
  { light: '#d9550b', dark: '#ff9450' },
  { light: '#0a8a63', dark: '#35c79a' },
  { light: '#b0458c', dark: '#e58cc6' },
  { light: '#8a6d00', dark: '#e0bd45' },
];

const style = (): string => {
  const curve = (shade: 'light' | 'dark'): string =>
    colours.map((colour, index) => `.c${index}{stroke:${colour[shade]}}.f${index}{fill:${colour[shade]}}`).join('');
  return [
    'text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:12px;fill:#5a6472}',
    '.page{fill:#ffffff;stroke:#e3e6ea}.title{font-size:17px;font-weight:600;fill:#1b2330}.legend{fill:#2e3846}',
    '.grid{stroke:#e9ecef}.axis{stroke:#aab2bc}.baseline{stroke:#7b8694;stroke-dasharray:5 4}.halo{stroke:#ffffff;stroke-width:4;stroke-linejoin:round;fill:none}',
    '.line{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}.thin{stroke-width:1.1}.dot{stroke:#ffffff;stroke-width:1.25}',
    curve('light'),
    '@media (prefers-color-scheme:dark){text{fill:#a3adba}.page{fill:#14181f;stroke:#2a313b}.title{fill:#eef1f5}.legend{fill:#d5dbe3}',
    '.grid{stroke:#252c36}.axis{stroke:#566171}.baseline{stroke:#8b96a5}.halo{stroke:#14181f}.dot{stroke:#14181f}',
    `${curve('dark')}}`,
  ].join('');
};

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const figure = (value: number): string => String(Math.round(value * 100) / 100);

/** Room for a text of 12 px; measuring needs a font, and a little too much does no harm. */
const textWidth = (text: string): number => text.length * 6.9;

interface Plot {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly xAxis: Axis;
  readonly yAxis: Axis;
}

/**
 * Draws a chart.
 *
 * @returns the SVG's text. Curves keep their every rise and fall; nothing is smoothed.
 */
export function lineChart(chart: Chart, size: SvgSize = {}): string {
  const { width = 880, height = 480 } = size;
  const yAxis = valueAxis(shownValues(chart), 6);
  const left = 46 + Math.max(...yAxis.ticks.map((tick) => textWidth(tick.label)), 0);
  const top = chart.subtitle === undefined ? 82 : 104;
  const plot: Plot = {
    left,
    top,
    width: width - left - 28,
    height: height - top - 58,
    xAxis: tightAxis(shownPositions(chart), 8),
    yAxis,
  };
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeText(chart.title)}</title><style>${style()}</style>`,
    `<rect class="page" x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="10"/>`,
    `<text class="title" x="24" y="34">${escapeText(chart.title)}</text>`,
    chart.subtitle === undefined ? '' : `<text x="24" y="54">${escapeText(chart.subtitle)}</text>`,
    ...legend(chart, top - 22),
    ...axes(chart, plot),
    ...chart.series.map((series, index) => curve(series, index % colours.length, plot)),
    ...baselines(chart, plot),
    '</svg>',
  ];
  return `${parts.filter((part) => part !== '').join('\n')}\n`;
}

function legend(chart: Chart, y: number): string[] {
  let x = 24;
  return chart.series.map((series, index) => {
    const colour = index % colours.length;
    const entry = [
      `<line class="line c${colour}" x1="${figure(x)}" x2="${figure(x + 20)}" y1="${y - 4}" y2="${y - 4}"/>`,
      series.markers === true ? `<circle class="dot f${colour}" cx="${figure(x + 10)}" cy="${y - 4}" r="3.75"/>` : '',
      `<text class="legend" x="${figure(x + 27)}" y="${y}">${escapeText(series.label)}</text>`,
    ];
    x += 27 + textWidth(series.label) + 22;
    return entry.join('');
  });
}

function axes(chart: Chart, plot: Plot): string[] {
  const { left, top, width, height, xAxis, yAxis } = plot;
  const [right, bottom] = [left + width, top + height];
  const parts: string[] = [];
  for (const tick of yAxis.ticks) {
    const y = figure(bottom - yAxis.position(tick.value) * height);
    parts.push(`<line class="grid" x1="${figure(left)}" x2="${figure(right)}" y1="${y}" y2="${y}"/>`);
    parts.push(`<text x="${figure(left - 9)}" y="${y}" dy=".35em" text-anchor="end">${tick.label}</text>`);
  }
  for (const tick of xAxis.ticks) {
    const x = figure(left + xAxis.position(tick.value) * width);
    parts.push(`<line class="axis" x1="${x}" x2="${x}" y1="${figure(bottom)}" y2="${figure(bottom + 5)}"/>`);
    parts.push(`<text x="${x}" y="${figure(bottom + 20)}" text-anchor="middle">${tick.label}</text>`);
  }
  parts.push(
    `<line class="axis" x1="${figure(left)}" x2="${figure(right)}" y1="${figure(bottom)}" y2="${figure(bottom)}"/>`,
  );
  parts.push(
    `<text x="${figure(left + width / 2)}" y="${figure(bottom + 42)}" text-anchor="middle">${escapeText(chart.xLabel)}</text>`,
  );
  const middle = figure(top + height / 2);
  parts.push(
    `<text x="26" y="${middle}" text-anchor="middle" transform="rotate(-90 26 ${middle})">${escapeText(chart.yLabel)}</text>`,
  );
  return parts;
}

function curve(series: ChartSeries, colour: number, plot: Plot): string {
  const at = (point: UnitPoint): string =>
    `${figure(plot.left + point.x * plot.width)} ${figure(plot.top + (1 - point.y) * plot.height)}`;
  const path: string[] = [];
  const dots: string[] = [];
  for (const stroke of strokes(series, plot.xAxis, plot.yAxis, plot.width)) {
    if (stroke.length > 1) path.push(`M${stroke.map(at).join('L')}`);
    // A lone point leaves no line: it is marked, so that it is seen.
    if (series.markers !== true && stroke.length > 1) continue;
    for (const point of stroke) {
      const [x, y] = at(point).split(' ');
      dots.push(`<circle class="dot f${colour}" cx="${x}" cy="${y}" r="3.75"/>`);
    }
  }
  // More points than pixels are noise to the eye: a thinner line leaves the trend visible through them.
  const thin = series.x.length > plot.width ? ' thin' : '';
  const line = path.length === 0 ? '' : `<path class="line${thin} c${colour}" d="${path.join('')}"/>`;
  return line + dots.join('');
}

function baselines(chart: Chart, plot: Plot): string[] {
  const right = plot.left + plot.width;
  return (chart.baselines ?? []).map((baseline) => {
    const height = plot.yAxis.position(baseline.value);
    if (!Number.isFinite(height)) return '';
    const y = plot.top + (1 - height) * plot.height;
    // Close to the upper edge the words go under the line.
    const textY = figure(y < plot.top + 16 ? y + 15 : y - 7);
    const words = `x="${figure(right - 4)}" y="${textY}" text-anchor="end">${escapeText(baseline.label)}</text>`;
    return `<line class="baseline" x1="${figure(plot.left)}" x2="${figure(right)}" y1="${figure(y)}" y2="${figure(y)}"/><text class="halo" ${words}<text class="legend" ${words}`;
  });
}
