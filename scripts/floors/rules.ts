/** The floors of the house and what they forbid: imports upward, cycles, koffi outside src/ffi, imports of tests. */

import { type Import, type SourceFile, targetOf } from './imports.ts';

/** Folders of `src/`, from the ground up; each may import itself and those before it. */
export const floors: readonly string[] = [
  'base',
  'ffi',
  'tensor',
  'autograd',
  'ops',
  'comm',
  'parallel',
  'model',
  'optim',
  'data',
  'checkpoint',
  'config',
  'train',
  'eval',
  'generate',
  'serve',
  'plan',
  'cli',
];

/** Files know nothing of tensors: reading data or a checkpoint must not need an engine. */
const tensorFree: ReadonlySet<string> = new Set(['data', 'checkpoint']);
const tensorFloors: ReadonlySet<string> = new Set([
  'ffi',
  'tensor',
  'autograd',
  'ops',
  'comm',
  'parallel',
  'model',
  'optim',
]);

export interface Breach {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** Floor of a file: the folder in `src/` that it lies in; 'top' for files directly in `src/`, undefined outside. */
function floorOf(path: string): string | undefined {
  const parts = path.split('/');
  if (parts[0] !== 'src') return undefined;
  return parts.length === 2 ? 'top' : parts[1];
}

function isTest(path: string): boolean {
  return /\.test\.[cm]?[tj]s$/.test(path) || path.startsWith('test/');
}

/** Everything in which the files break the rules; empty when the house stands. */
export function findBreaches(files: readonly SourceFile[]): readonly Breach[] {
  const breaches: Breach[] = [];
  const unknown = new Set<string>();
  for (const file of files) {
    const floor = floorOf(file.path);
    if (floor === undefined) continue;
    if (floor !== 'top' && rankOf(floor) < 0 && !unknown.has(floor)) {
      unknown.add(floor);
      breaches.push({
        path: file.path,
        line: 1,
        message: `src/${floor} is no floor: give it a place in scripts/floors/rules.ts`,
      });
    }
    for (const imported of file.imports) {
      const message = breachOf(file, imported);
      if (message !== undefined) breaches.push({ path: file.path, line: imported.line, message });
    }
  }
  return [...breaches, ...findCycles(files)];
}

function rankOf(floor: string): number {
  return floors.indexOf(floor);
}

function breachOf(file: SourceFile, imported: Import): string | undefined {
  const floor = floorOf(file.path) ?? '';
  if (imported.specifier === 'koffi' && floor !== 'ffi') return 'only src/ffi imports koffi: use its functions';
  const target = targetOf(file, imported);
  // Tests look at everything from everywhere; what they test must not look at them.
  if (target === undefined || isTest(file.path)) return undefined;
  if (isTest(target)) return `imports the test ${target}`;
  const targetFloor = floorOf(target);
  if (targetFloor === undefined) return `imports ${target}, which is not part of the published package`;
  if (floor === 'top') return undefined;
  if (targetFloor === 'top') return `imports ${target}, which stands above every floor`;
  if (tensorFree.has(floor) && tensorFloors.has(targetFloor))
    return `imports ${target}: ${floor} must work without tensors`;
  if (rankOf(targetFloor) > rankOf(floor)) return `imports upward: ${floor} may not know ${targetFloor} (${target})`;
  return undefined;
}

/** Cycles of files that need each other to be run; each is told once, at its first file. */
function findCycles(files: readonly SourceFile[]): readonly Breach[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const state = new Map<string, 'open' | 'done'>();
  const trail: string[] = [];
  const breaches: Breach[] = [];
  const visit = (file: SourceFile): void => {
    state.set(file.path, 'open');
    trail.push(file.path);
    for (const imported of file.imports) {
      const target = imported.kind === 'value' ? targetOf(file, imported) : undefined;
      const next = target === undefined ? undefined : byPath.get(target);
      if (next === undefined) continue;
      if (state.get(next.path) === 'open') {
        const cycle = [...trail.slice(trail.indexOf(next.path)), next.path];
        breaches.push({ path: file.path, line: imported.line, message: `closes a cycle: ${cycle.join(' → ')}` });
      } else if (!state.has(next.path)) visit(next);
    }
    trail.pop();
    state.set(file.path, 'done');
  };
  for (const file of files) if (!state.has(file.path)) visit(file);
  return breaches;
}
