// Packs what `npm run gpu-check` needs besides the sources, for a GPU machine that has no npm: the pinned Node and the packages
// of the tests, as one archive.
//
//     npm run gpu-pack -- gpu-check.tar.xz
//     python3 -m tarfile -e gpu-check.tar.xz . && ./gpu-node/node bench/gpu-check.ts      (there, in the repository's folder)

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requiredNodeMajor } from '../bin/node-runtime.mjs';

// the Node that runs this is the one that is packed
if (Number.parseInt(process.versions.node, 10) < requiredNodeMajor) {
  throw new Error(`Node ${process.versions.node} is too old to be packed: run it by npm run gpu-pack`);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const archive = resolve(process.argv[2] ?? 'gpu-check.tar.xz');

/** Packages that the tests and the benchmark load, with all that those depend on. */
const packages = new Set();
const waiting = ['koffi', 'zod', 'yaml', '@huggingface/tokenizers', 'vitest', 'vite', 'fast-check'];
for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
  const description = join(root, 'node_modules', name, 'package.json');
  if (packages.has(name) || !existsSync(description)) continue; // other platforms' packages are not installed
  packages.add(name);
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(description, 'utf8'));
  waiting.push(...Object.keys(dependencies), ...Object.keys(optionalDependencies));
}

const folder = mkdtempSync(join(tmpdir(), 'megatron-pack-'));
try {
  mkdirSync(join(folder, 'gpu-node'));
  cpSync(process.execPath, join(folder, 'gpu-node', 'node'));
  for (const name of packages) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  }
  execFileSync('tar', ['-cJf', archive, '-C', folder, 'gpu-node', 'node_modules'], {
    env: { ...process.env, XZ_OPT: '-T0 -6' },
    stdio: 'inherit',
  });
  const mebibytes = (statSync(archive).size / 2 ** 20).toFixed(1);
  process.stdout.write(`${archive}: ${mebibytes} MiB, Node ${process.version} and ${packages.size} packages\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
