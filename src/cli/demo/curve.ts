/** The loss curve: an SVG for the folder, a small one for the terminal. */

import { join } from 'node:path';
import { writeFileAtomically } from '../../base/files.ts';
import { formatCount, formatInteger } from '../../base/format.ts';
import { type Chart, lineChart, readMetrics, terminalChart } from '../../train/report/index.ts';
import type { EvaluationResult } from './evaluation.ts';
import type { ModelPlan } from './plan.ts';
import { checkpointsName } from './training.ts';

export const curveName = 'loss-curve.svg';

export function lossChart(folder: string, plan: ModelPlan, evaluation: EvaluationResult): Chart {
  const metrics = readMetrics(join(folder, checkpointsName, 'metrics.jsonl'));
  const validated = metrics.filter(({ validLoss }) => validLoss !== undefined);
  const { numLayers, hiddenSize, parameters } = plan;
  const updates = metrics.at(-1)?.iteration ?? 0; // fewer than planned where the time was over
  return {
    title: 'Loss of the demo’s model',
    subtitle: `GPT with ${formatCount(parameters)} parameters (${numLayers} layers, hidden size ${hiddenSize}), ${formatInteger(updates)} updates`,
    xLabel: 'update',
    yLabel: 'loss (nats per token)',
    series: [
      { label: 'training', x: metrics.map((entry) => entry.iteration), y: metrics.map((entry) => entry.lmLoss) },
      {
        label: 'held-out text',
        x: validated.map((entry) => entry.iteration),
        y: validated.map((entry) => entry.validLoss ?? Number.NaN),
        markers: true,
      },
    ],
    baselines: [{ label: 'unigram', value: evaluation.unigramLoss }],
  };
}

export function writeCurve(folder: string, chart: Chart): void {
  writeFileAtomically(join(folder, curveName), lineChart(chart));
}

export const smallCurve = (chart: Chart, columns: number, colour: boolean): string =>
  terminalChart({ ...chart, yLabel: 'loss' }, { columns, rows: 14, colour });
