/** The findings as aligned tables for a terminal. */

import { formatBytes } from '../../base/format.ts';
import type { Component, Findings } from './findings.ts';

const absent = '–';

export function report(findings: Findings): string {
  const { system, components, gpu, engine } = findings;
  const cores =
    system.physicalCores === undefined || system.physicalCores === system.cores
      ? String(system.cores)
      : `${system.cores} (of ${system.physicalCores} physical cores in the machine)`;
  const sections = [
    section('Machine', [
      ['megatron-ts', findings.version],
      ['system', `${system.system}, ${system.kernel}, ${system.architecture}`],
      ['Node', system.nodeVersion],
      ['processor', system.processor],
      ['cores', cores],
      ['memory', `${memory(system.memoryBytes)}, ${memory(system.availableMemoryBytes)} available`],
    ]),
    section(
      'Processor units',
      system.units.map((unit) => [unit.name, unit.present ? 'yes' : absent, unit.use]),
    ),
    section('Programs and libraries', components.map(row)),
    section('GPU', [
      ...(gpu.gpus.length === 0
        ? [['GPU', 'none that nvidia-smi knows, where it is there; docs/cuda.md has what a GPU needs']]
        : gpu.gpus.map((line, index) => [`GPU ${index}`, line])),
      ...gpu.components.map(row),
    ]),
    section('Engine', [
      ['engine', engine.name],
      ['why', engine.reason],
      ['matrix rate', rate(findings)],
    ]),
  ];
  const last =
    findings.advice === undefined
      ? 'Nothing to install would make training faster here.'
      : `To make it faster:\n  ${findings.advice}`;
  return `${sections.join('\n\n')}\n\n${last}\n`;
}

function memory(bytes: number): string {
  return formatBytes(bytes, { binary: true });
}

function row(component: Component): string[] {
  return [component.name, component.found ?? absent, component.use];
}

function rate(findings: Findings): string {
  const { matrixRate, matrixRateProblem } = findings;
  if (matrixRate !== undefined) {
    return `${matrixRate.gigaflopsPerSecond.toFixed(0)} GFLOP/s (${matrixRate.problem}; ${matrixRate.by})`;
  }
  return matrixRateProblem === undefined ? 'not measured' : `could not be measured: ${matrixRateProblem}`;
}

/** A title and its rows; every column is as wide as its widest cell. */
export function section(title: string, rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((cells) => cells.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(0, ...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}
