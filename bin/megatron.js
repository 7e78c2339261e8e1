#!/usr/bin/env node
/** The `megatron` command: starts the built program, or the sources in a clone of the repository, under the pinned Node. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNode, runNode, thisMachine } from './node-runtime.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const args = process.argv.slice(2);

async function run() {
  if (existsSync(join(root, 'scripts', 'bootstrap.mjs'))) {
    const { bootstrap } = await import('../scripts/bootstrap.mjs');
    return bootstrap([join(root, 'src', 'cli', 'main.ts'), ...args]);
  }
  const found = findNode(root, thisMachine());
  if ('node' in found) return runNode(found.node, [join(root, 'dist', 'cli', 'main.js'), ...args]);
  process.stderr.write(`megatron: ${found.problem}.\n${found.remedy}\n`);
  return 1;
}

process.exitCode = await run();
