/** Grouped bars as a standalone SVG, in the hand of src/train/report/svg-chart.ts: for efficiencies and speed-ups. */

export interface Bar {
  /** Under the bar. */
  readonly label: string;
  readonly value: number;
  /** On top of the bar. */
  readonly words: string;
  /** 0, 1 or 2: its colour, and its entry in the legend. */
  readonly series: number;
}

export interface BarPanel {
  readonly title: string;
  readonly subtitle: string;
  readonly bars: readonly Bar[];
  /** Top of the scale, and its ticks with their words. */
  readonly top: number;
  readonly ticks: readonly { readonly value: number; readonly words: string }[];
}

export interface BarChart {
  readonly title: string;
  readonly subtitle: string;
  readonly legend: readonly string[];
  readonly panels: readonly BarPanel[];
}

export const style = [
  'text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:12px;fill:#5a6472}',
  '.page{fill:#ffffff;stroke:#e3e6ea}.title{font-size:17px;font-weight:600;fill:#1b2330}',
  '.panel{font-size:13px;font-weight:600;fill:#1b2330}.legend,.value{fill:#2e3846}.value{font-size:11px;font-weight:600}',
  '.grid{stroke:#e9ecef}.axis{stroke:#aab2bc}.f0{fill:#0a6ebd}.f1{fill:#aab2bc}.f2{fill:#d9550b}',
  '@media (prefers-color-scheme:dark){text{fill:#a3adba}.page{fill:#14181f;stroke:#2a313b}.title,.panel{fill:#eef1f5}',
  '.legend,.value{fill:#d5dbe3}.grid{stroke:#252c36}.axis{stroke:#566171}.f0{fill:#5db2f2}.f1{fill:#566171}.f2{fill:#ff9450}}',
].join('');

export const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
export const figure = (value: number): string => String(Math.round(value * 100) / 100);

const [panelWidth, plotTop, plotHeight] = [300, 156, 210];

export function barChart({ title, subtitle, legend, panels }: BarChart): string {
  const width = 40 + panels.length * panelWidth;
  const height = plotTop + plotHeight + 62;
  let x = 24;
  const entries = legend.map((words, series) => {
    const entry =
      `<rect class="f${series}" x="${figure(x)}" y="72" width="12" height="12" rx="2"/>` +
      `<text class="legend" x="${figure(x + 18)}" y="82">${escapeText(words)}</text>`;
    x += 18 + words.length * 6.9 + 20;
    return entry;
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeText(title)}</title><style>${style}</style>`,
    `<rect class="page" x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="10"/>`,
    `<text class="title" x="24" y="34">${escapeText(title)}</text><text x="24" y="54">${escapeText(subtitle)}</text>`,
    ...entries,
    ...panels.map((panel, index) => panelOf(panel, 24 + index * panelWidth)),
    '</svg>',
  ].join('\n')}\n`;
}

function panelOf({ title, subtitle, bars, top, ticks }: BarPanel, x: number): string {
  const left = x + 42;
  const width = panelWidth - 66;
  const bottom = plotTop + plotHeight;
  const y = (value: number): number => bottom - (value / top) * plotHeight;
  const parts = [
    `<text class="panel" x="${x}" y="116">${escapeText(title)}</text><text x="${x}" y="133">${escapeText(subtitle)}</text>`,
    ...ticks.map(
      ({ value, words }) =>
        `<line class="grid" x1="${left}" x2="${left + width}" y1="${figure(y(value))}" y2="${figure(y(value))}"/>` +
        `<text x="${left - 8}" y="${figure(y(value))}" dy=".35em" text-anchor="end">${escapeText(words)}</text>`,
    ),
  ];
  // bars of one label stand together
  const labels = [...new Set(bars.map(({ label }) => label))];
  const slot = width / labels.length;
  for (const [place, label] of labels.entries()) {
    const group = bars.filter((bar) => bar.label === label);
    const each = Math.min(50, (slot - 14) / group.length);
    const start = left + place * slot + (slot - each * group.length) / 2;
    for (const [i, { value, words, series }] of group.entries()) {
      const [barX, barY] = [start + i * each, y(Math.min(value, top))];
      const middle = figure(barX + each / 2);
      parts.push(
        `<rect class="f${series}" x="${figure(barX + 2)}" y="${figure(barY)}" width="${figure(each - 4)}" height="${figure(bottom - barY)}" rx="2"/>`,
        `<text class="value" x="${middle}" y="${figure(barY - 6)}" text-anchor="middle">${escapeText(words)}</text>`,
      );
    }
    const middle = figure(left + (place + 0.5) * slot);
    parts.push(`<text x="${middle}" y="${bottom + 19}" text-anchor="middle">${escapeText(label)}</text>`);
  }
  parts.push(`<line class="axis" x1="${left}" x2="${left + width}" y1="${bottom}" y2="${bottom}"/>`);
  return parts.join('\n');
}
