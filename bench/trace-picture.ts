/**
 * Draws a stretch of a trace of `--profile` as SVG, for the documentation: `node bench/trace-picture.ts FILE STEP [FROM TO]`, the
 * stretch in parts of the step.
 */

import { readFileSync } from 'node:fs';
import { escapeText, figure, style } from './bar-chart.ts';

interface Span {
  readonly ph: string;
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

const colours: Readonly<Record<string, string>> = {
  step: '#dfe4ea',
  phase: '#c9d6e6',
  operator: '#9cc3e6',
  kernel: '#0a6ebd',
};
const [waiting, moving] = ['#f3c9ae', '#d9550b'];
const [width, left, rowHeight, top] = [1040, 74, 19, 62];

const [file = '', name = '', from = '0', to = '1'] = process.argv.slice(2);
const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as { traceEvents: Span[] };
const ranks = [...new Set(traceEvents.map(({ pid }) => pid))];
const first = traceEvents.find((event) => event.name === `step ${name}` && event.pid === ranks[0]);
if (!first) throw new Error(`${file} has no step ${name}`);
const [begin, end] = [first.ts + Number(from) * first.dur, first.ts + Number(to) * first.dur];
const x = (micros: number): number =>
  left + ((Math.min(end, Math.max(begin, micros)) - begin) / (end - begin)) * (width - left - 24);

const box = (at: number, until: number, y: number, colour: string, title: string): string => {
  const [boxLeft, boxWidth] = [x(at), Math.max(0.4, x(until) - x(at) - 0.4)];
  const words = [title, title.split(' ')[0] ?? ''].find((text) => boxWidth > 6.1 * text.length + 6);
  const ink = colour === colours['kernel'] || colour === moving ? '#ffffff' : '#1b2330';
  return (
    `<rect x="${figure(boxLeft)}" y="${y}" width="${figure(boxWidth)}" height="${rowHeight - 2}" rx="1.5" fill="${colour}"/>` +
    (words
      ? `<text x="${figure(boxLeft + boxWidth / 2)}" y="${y + 12.5}" text-anchor="middle" style="font-size:10.5px;fill:${ink}">${escapeText(words)}</text>`
      : '')
  );
};

/** The rows of one rank: a span stands one row below what it lies in. */
function rankRows(rank: number, y: number): { readonly parts: string[]; readonly rows: number } {
  const open: Span[] = [];
  let rows = 0;
  const parts: string[] = [];
  for (const span of traceEvents) {
    if (span.ph !== 'X' || span.pid !== rank) continue;
    while (open.length > 0 && (open.at(-1) as Span).ts + (open.at(-1) as Span).dur <= span.ts + 0.002) open.pop();
    const row = open.length;
    open.push(span);
    const last = span.ts + span.dur;
    if (last <= begin || span.ts >= end) continue;
    rows = Math.max(rows, row + 1);
    const at = y + row * rowHeight;
    if (span.cat !== 'collective') parts.push(box(span.ts, last, at, colours[span.cat] ?? moving, span.name));
    else {
      const arrived = span.ts + Number(span.args?.['waiting ms'] ?? 0) * 1000;
      parts.push(box(span.ts, arrived, at, waiting, 'waiting'), box(arrived, last, at, moving, span.name));
    }
  }
  return { parts, rows };
}

let y = top;
const lanes = ranks.map((rank) => {
  const { parts, rows } = rankRows(rank, y);
  const label = `<text class="panel" x="24" y="${y + 13}">rank ${rank}</text>`;
  y += rows * rowHeight + 12;
  return [label, ...parts].join('\n');
});
const legend = Object.entries({ ...colours, 'waiting for another rank': waiting, 'moving data': moving });
let legendX = left;
const entries = legend.map(([words, colour]) => {
  const entry = `<rect x="${legendX}" y="34" width="12" height="12" rx="2" fill="${colour}"/><text x="${legendX + 17}" y="44">${words}</text>`;
  legendX += 36 + words.length * 6.6;
  return entry;
});
const title = `${figure((end - begin) / 1000)} ms of step ${name}`;
process.stdout.write(
  `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 8}" viewBox="0 0 ${width} ${y + 8}" role="img">`,
    `<title>${title}</title><style>${style.split('@media')[0]}</style>`,
    `<rect class="page" x=".5" y=".5" width="${width - 1}" height="${y + 7}" rx="10"/>`,
    `<text class="panel" x="24" y="22">${title}</text>`,
    ...entries,
    ...lanes,
    '</svg>',
  ].join('\n')}\n`,
);
