/** Named rows with two bars each, a share and how far it goes towards a limit, as a standalone SVG in the hand of bar-chart.ts. */

import { escapeText, figure, style } from './bar-chart.ts';

export interface ChartRow {
  readonly label: string;
  /** 0 … 1 of the left column's top. */
  readonly left: number;
  readonly leftWords: string;
  /** 0 … 1; undefined where there is no limit. */
  readonly right: number | undefined;
  readonly rightWords: string;
  readonly marked: boolean;
}

export interface RowChart {
  readonly title: string;
  readonly subtitle: string;
  readonly leftTitle: string;
  readonly rightTitle: string;
  /** A line across the right column, 0 … 1. */
  readonly goal: number;
  readonly rows: readonly ChartRow[];
}

const [labelWidth, barWidth, wordsWidth, rowHeight, top] = [232, 190, 134, 24, 108];

export function rowChart({ title, subtitle, leftTitle, rightTitle, goal, rows }: RowChart): string {
  const [leftX, rightX] = [24 + labelWidth, 24 + labelWidth + barWidth + wordsWidth];
  const [width, bottom] = [rightX + barWidth + wordsWidth, top + rows.length * rowHeight];
  const goalX = figure(rightX + goal * barWidth);
  const bar = (x: number, y: number, share: number, words: string, colour: string): string =>
    `<rect class="${colour}" x="${x}" y="${y + 4}" width="${figure(Math.min(1, share) * barWidth)}" height="${rowHeight - 8}" rx="2"/>` +
    `<text class="value" x="${figure(x + Math.min(1, share) * barWidth + 6)}" y="${y + 16}">${escapeText(words)}</text>`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom + 24}" viewBox="0 0 ${width} ${bottom + 24}" role="img">`,
    `<title>${escapeText(title)}</title><style>${style}</style>`,
    `<rect class="page" x=".5" y=".5" width="${width - 1}" height="${bottom + 23}" rx="10"/>`,
    `<text class="title" x="24" y="34">${escapeText(title)}</text><text x="24" y="54">${escapeText(subtitle)}</text>`,
    `<text class="panel" x="${leftX}" y="${top - 14}">${escapeText(leftTitle)}</text>`,
    `<text class="panel" x="${rightX}" y="${top - 14}">${escapeText(rightTitle)}</text>`,
    `<line class="axis" x1="${goalX}" x2="${goalX}" y1="${top}" y2="${bottom}" stroke-dasharray="4 3"/>`,
    ...rows.map((row, i) => {
      const y = top + i * rowHeight;
      return [
        `<text class="legend" x="${leftX - 10}" y="${y + 16}" text-anchor="end">${escapeText(row.label)}</text>`,
        bar(leftX, y, row.left, row.leftWords, row.marked ? 'f2' : 'f0'),
        row.right === undefined ? '' : bar(rightX, y, row.right, row.rightWords, row.marked ? 'f2' : 'f0'),
      ].join('');
    }),
    `<line class="axis" x1="${leftX}" x2="${leftX}" y1="${top}" y2="${bottom}"/>`,
    `<line class="axis" x1="${rightX}" x2="${rightX}" y1="${top}" y2="${bottom}"/>`,
    '</svg>',
  ].join('\n')}\n`;
}
