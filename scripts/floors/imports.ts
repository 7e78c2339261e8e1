/** Which files a source file imports, read from its text. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

export type ImportKind =
  /** Runs the other file before this one. */
  | 'value'
  /** Gone after compilation. */
  | 'type'
  /** `import()`, or a worker's URL: runs the other file later. */
  | 'later';

export interface Import {
  /** As written: a package's name, or a path that begins with a dot. */
  readonly specifier: string;
  readonly kind: ImportKind;
  /** 1-based. */
  readonly line: number;
}

export interface SourceFile {
  /** From the repository's root, with slashes: `src/base/errors.ts`. */
  readonly path: string;
  readonly imports: readonly Import[];
}

/** Statements begin a line; so imports quoted inside comments and texts are not taken for real ones. */
const patterns: readonly (readonly [RegExp, (match: RegExpExecArray) => ImportKind])[] = [
  [
    /^[ \t]*(?:import|export)\b([^;'"`]*?)\bfrom\s*['"]([^'"]+)['"]/gm,
    (match) => (/^\s+type\b/.test(match[1] ?? '') ? 'type' : 'value'),
  ],
  [/^[ \t]*import(\s*)['"]([^'"]+)['"]/gm, () => 'value'],
  [/\b(import)\(\s*['"]([^'"]+)['"]\s*\)/g, () => 'later'],
  [/\b(new URL)\(\s*['"](\.[^'"]+\.[tj]s)['"],\s*import\.meta\.url\s*\)/g, () => 'later'],
];

/** Imports in the text of a file. */
export function importsOf(text: string): readonly Import[] {
  const blank = (comment: string) => comment.replace(/[^\n]/g, ' ');
  const code = text.replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, blank).replace(/(^|\s)\/\/.*$/gm, blank);
  const found: Import[] = [];
  for (const [pattern, kindOf] of patterns) {
    for (const match of code.matchAll(pattern)) {
      const end = match.index + match[0].length;
      const line = code.slice(0, end).split('\n').length;
      found.push({ specifier: match[2] ?? '', kind: kindOf(match), line });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}

/** All TypeScript and JavaScript files below a folder of the repository. */
export function readSources(root: string, folder: string): readonly SourceFile[] {
  const top = join(root, folder);
  if (!existsSync(top)) return [];
  return readdirSync(top, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[cm]?[tj]s$/.test(name) && !name.split(sep).includes('node_modules'))
    .map((name) => join(top, name))
    .sort()
    .map((path) => ({
      path: relative(root, path).replaceAll(sep, '/'),
      imports: importsOf(readFileSync(path, 'utf8')),
    }));
}

/** Path from the root that a relative import means; undefined for a package. */
export function targetOf(file: SourceFile, imported: Import): string | undefined {
  if (!imported.specifier.startsWith('.')) return undefined;
  const absolute = resolve('/', dirname(file.path), imported.specifier);
  return absolute.slice(1).replaceAll(sep, '/');
}
