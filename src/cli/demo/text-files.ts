/** Finds the text that every installation brings along: TypeScript declarations and Markdown among the npm packages. */

import { createHash } from 'node:crypto';
import { readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const textKinds = ['TypeScript', 'Markdown'] as const;
export type TextKind = (typeof textKinds)[number];

export interface TextFile {
  readonly path: string;
  /** Path inside its `node_modules`, with `/`: the same on every machine. */
  readonly name: string;
  readonly kind: TextKind;
}

/**
 * The `node_modules` folders to look in: the package's own (a clone), and the one that it lies in (an installed dependency).
 *
 * @param packageRoot the folder of this package's `package.json`
 */
export function packageFolders(packageRoot: string = ownPackageRoot()): string[] {
  const parent = dirname(packageRoot);
  // A scoped fork lies one folder deeper.
  const container = basename(parent).startsWith('@') ? dirname(parent) : parent;
  return [join(packageRoot, 'node_modules'), ...(basename(container) === 'node_modules' ? [container] : [])];
}

/** This file lies three folders below the package, in the sources as in what is built of them. */
const ownPackageRoot = (): string => fileURLToPath(new URL('../../..', import.meta.url)).replace(/[\\/]$/, '');

/**
 * Every `.d.ts`, `.d.mts`, `.d.cts` and `.md` file below the folders (no change logs, no translations), links followed, in an order that depends on the
 * names alone and mixes the packages. Folders that are missing or closed to us are passed over.
 */
export function findTextFiles(folders: readonly string[]): TextFile[] {
  const visited = new Set<string>();
  const found = new Map<string, TextFile>();

  const walk = (folder: string, prefix: string): void => {
    let names: string[];
    try {
      const real = realpathSync(folder);
      // Links make cycles, and two ways to one place.
      if (visited.has(real)) return;
      visited.add(real);
      names = readdirSync(folder).sort();
    } catch {
      return;
    }
    for (const name of names) {
      // Caches and the links to programs begin with a dot.
      if (name.startsWith('.')) continue;
      const path = join(folder, name);
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats?.isDirectory()) walk(path, `${prefix}${name}/`);
      const kind = kindOf(name);
      if (kind !== undefined && stats?.isFile()) found.set(prefix + name, { path, name: prefix + name, kind });
    }
  };

  for (const folder of folders) walk(folder, '');
  const rank = (name: string): string => createHash('sha256').update(name).digest('hex');
  return [...found.values()]
    .map((file) => ({ file, rank: rank(file.name) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .map(({ file }) => file);
}

function kindOf(name: string): TextKind | undefined {
  if (/\.d\.[cm]?ts$/.test(name)) return 'TypeScript';
  // Lists of commits are mostly hashes, and of a translation there is too little to learn its language.
  if (/^changelog|^readme[._-]\w/i.test(name) && !/^readme\.md$/i.test(name)) return undefined;
  return /\.md$/i.test(name) ? 'Markdown' : undefined;
}
