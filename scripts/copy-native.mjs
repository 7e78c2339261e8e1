/** Part of `npm run build`: puts the kernels' sources, which are compiled on the user's machine, beside the built code. */

import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sources = join(root, 'src');
const target = join(root, 'dist');

for (const name of readdirSync(sources, { recursive: true, encoding: 'utf8' })) {
  if (!/\.(cpp|cu|cuh|h)$/.test(name)) continue;
  mkdirSync(dirname(join(target, name)), { recursive: true });
  copyFileSync(join(sources, name), join(target, name));
}
