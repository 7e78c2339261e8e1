// Packs what `npm run gpu-check` needs besides the sources, for a GPU machine that has no npm: the pinned Node and the packages
// of the tests, as one archive.
//
//     npm run gpu-pack -- gpu-check.tar.xz
//     python3 -m tarfile -e gpu-check.tar.xz . && ./gpu-node/node bench/gpu-check.ts      (there, in the repository's folder)

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requiredNodeMajor } from '../bin/node-runtime.mjs';

// the Node that runs this is the one that is packed
if (Number.parseInt(process.versions.node, 10) < requiredNodeMajor) {
  throw new Error(`Node ${process.versions.node} is too old to be packed: run it by npm run gpu-pack`);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const archive = resolve(process.argv[2] ?? 'gpu-check.tar.xz');
if (!/^[^-].*\.tar\.xz$/.test(basename(archive)) || !existsSync(dirname(archive))) {
  process.stderr.write('npm run gpu-pack -- FILE.tar.xz, in a folder that is there; default: gpu-check.tar.xz\n');
  process.exit(2);
}

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
const unfinished = `${archive}.${process.pid}`;
const cleanUp = () => {
  for (const path of [folder, unfinished]) rmSync(path, { recursive: true, force: true });
};
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
process.stdout.write(`packing Node and ${packages.size} packages, about a minute …\n`);
try {
  mkdirSync(join(folder, 'gpu-node'));
  cpSync(process.execPath, join(folder, 'gpu-node', 'node'));
  for (const name of packages) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  }
  execFileSync('tar', ['-cJf', unfinished, '-C', folder, 'gpu-node', 'node_modules'], {
    env: { ...process.env, XZ_OPT: '-T0 -6' },
    stdio: 'inherit',
  });
  renameSync(unfinished, archive);
  const mebibytes = (statSync(archive).size / 2 ** 20).toFixed(1);
  process.stdout.write(`${archive}: ${mebibytes} MiB, Node ${process.version} and ${packages.size} packages\n`);
} catch (error) {
  process.stderr.write(`cannot pack: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
