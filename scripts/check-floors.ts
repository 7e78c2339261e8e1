/** `npm run floors`: holds the floors of ARCHITECTURE.md, so that the sources stay readable from the ground up. */

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSources } from './floors/imports.ts';
import { findBreaches, floors } from './floors/rules.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const files = readSources(root, 'src');
const breaches = findBreaches(files);

for (const { path, line, message } of breaches) process.stdout.write(`${path}:${line}: ${message}\n`);
if (breaches.length > 0) {
  process.stdout.write(
    `\n${breaches.length} imports break the floors, which are, from the ground: ${floors.join(' < ')}.\n`,
  );
  process.exitCode = 1;
} else {
  const imports = files.reduce((sum, file) => sum + file.imports.length, 0);
  process.stdout.write(`The floors hold: ${files.length} files, ${imports} imports, none upward, no cycle.\n`);
}
