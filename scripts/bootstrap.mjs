/**
 * Makes any command of this repository work as the first one after `git clone`: npm packages, the pinned Node, the compiler.
 *
 *     node scripts/bootstrap.mjs file.ts args…        runs a source file
 *     node scripts/bootstrap.mjs --bin TOOL args…     runs a tool of node_modules (vitest, tsc, biome)
 *
 * Plain JavaScript: it starts on the Node that is there (18 or newer).
 */

import { readFileSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNode, runNode, thisMachine } from '../bin/node-runtime.mjs';
import { installPackages } from './bootstrap/packages.mjs';
import { provideEngine } from './bootstrap/system-packages.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Name of the tool's package where it is not the tool's own name. */
const packageOfTool = new Map([
  ['tsc', 'typescript'],
  ['biome', '@biomejs/biome'],
]);

/** Commands of `megatron` that compute; the others never need a compiler. */
const computingCommands = new Set(['demo', 'pretrain', 'generate', 'eval', 'bench']);

/**
 * Whether what is about to run multiplies matrices, so that a missing compiler or oneDNN is worth a word.
 *
 * @param {readonly string[]} argv
 */
export function needsEngine(argv) {
  const [first, second] = argv;
  if (argv.includes('--help') || argv.includes('-h') || argv.includes('--version')) return false;
  if (first === '--bin') return second === 'vitest';
  if (first === undefined || /(^|[\\/])scripts[\\/]/.test(first)) return false;
  if (/[\\/]cli[\\/]main\.ts$/.test(first)) return second !== undefined && computingCommands.has(second);
  return true;
}

/**
 * JavaScript file behind a tool's name.
 *
 * @param {string} tool
 */
function toolScript(tool) {
  const name = packageOfTool.get(tool) ?? tool;
  const folder = join(root, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return resolve(folder, typeof bin === 'string' ? bin : bin[tool]);
}

/**
 * @param {readonly string[]} argv what follows `bootstrap.mjs` on the command line
 * @returns {Promise<number>} exit code
 */
export async function bootstrap(argv) {
  const [first, ...rest] = argv;
  if (first === undefined) {
    process.stderr.write('usage: node scripts/bootstrap.mjs [--bin TOOL | file.ts] args…\n');
    return 2;
  }
  if (!(await installPackages(root))) return 1;
  const found = findNode(root, thisMachine());
  if (!('node' in found)) {
    process.stderr.write(`megatron: ${found.problem}.\n${found.remedy}\n`);
    return 1;
  }
  if (needsEngine(argv)) await provideEngine(root);
  if (first !== '--bin') {
    // Node 24.0 still calls its running of TypeScript experimental, on every start.
    return runNode(found.node, ['--disable-warning=ExperimentalWarning', resolve(root, first), ...rest]);
  }
  const [tool, ...toolArguments] = rest;
  return runNode(found.node, [toolScript(tool ?? ''), ...toolArguments]);
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await bootstrap(process.argv.slice(2));
}
