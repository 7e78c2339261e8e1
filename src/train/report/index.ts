/** What training tells: log lines, metrics, TensorBoard, charts. */

export type { Chart, ChartBaseline, ChartSeries } from './chart.ts';
export {
  hardwareFlopsPerToken,
  modelFlopsPerToken,
  palmFlopsPerToken,
  type RecomputedLayers,
  type TransformerShape,
} from './flops.ts';
export {
  formatArguments,
  formatMemoryLine,
  formatTrainingLine,
  formatValidationBlock,
  perplexity,
  type TrainingLogEntry,
} from './log-lines.ts';
export { type IterationMetrics, MetricsFile, metricsLine, readMetrics } from './metrics-file.ts';
export { lineChart, type SvgSize } from './svg-chart.ts';
export { megatronScalars, type TensorBoardOptions, TensorBoardWriter } from './tensorboard.ts';
export { type TerminalSize, terminalChart } from './terminal-chart.ts';
