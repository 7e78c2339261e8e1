/** The C++ compiler and oneDNN, which make the CPU engine fast: installed as root on Debian and Ubuntu, else named in one line. */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { adviceFor, aptSearch, debianPackages } from '../../src/cli/doctor/package-advice.js';

/** @typedef {import('../../src/cli/doctor/package-advice.js').Missing} Missing */

/**
 * @param {string} name
 * @param {NodeJS.ProcessEnv} environment
 */
function onPath(name, environment) {
  return (environment.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, name)));
}

/** Folders in which the loader finds libraries, the usual ones of Debian, Fedora, Arch, and what the user added. */
function libraryFolders(/** @type {NodeJS.ProcessEnv} */ environment) {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const added = (environment.LD_LIBRARY_PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return [
    ...added,
    `/usr/lib/${triplet}`,
    `/lib/${triplet}`,
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/lib',
    '/usr/local/lib64',
  ];
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Missing}
 */
export function findMissing(environment) {
  if (process.platform === 'darwin') {
    // /usr/bin/c++ is always there and opens a window when the tools are not; Accelerate comes with the system.
    return { compiler: spawnSync('xcode-select', ['-p'], { stdio: 'ignore' }).status !== 0, matrixLibrary: false };
  }
  const compilers = [environment.CXX ?? '', 'c++', 'g++', 'clang++'].filter((name) => name !== '');
  const compiler = !compilers.some((name) => (name.includes('/') ? existsSync(name) : onPath(name, environment)));
  const matrixLibrary = !libraryFolders(environment).some((folder) => {
    try {
      return readdirSync(folder).some((name) => name.startsWith('libdnnl.so'));
    } catch {
      return false;
    }
  });
  return { compiler, matrixLibrary };
}

/** @param {Missing} missing */
function inWords(missing) {
  return [...(missing.compiler ? ['a C++ compiler'] : []), ...(missing.matrixLibrary ? ['oneDNN'] : [])].join(' and ');
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {Promise<{ code: number, words: string }>}
 */
function run(command, args) {
  return new Promise((finish) => {
    const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    let words = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      words += chunk.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => finish({ code: 1, words: error.message }));
    child.on('close', (code) => finish({ code: code ?? 1, words }));
  });
}

/**
 * @param {Missing} missing
 * @returns {Promise<string | undefined>} what went wrong, in apt's last words
 */
async function installWithApt(missing) {
  process.stderr.write(
    `megatron: installing ${inWords(missing)} with apt-get, so that training runs at this machine's speed\n` +
      '          (a few minutes, once; MEGATRON_NO_APT=1 turns this off)\n',
  );
  const update = await run('apt-get', ['update']);
  const packages = debianPackages(missing, aptSearch);
  if (packages.length === 0) return lastWords(update.words) || 'no package of that name';
  const install = await run('apt-get', ['install', '-y', '--no-install-recommends', ...packages]);
  if (install.code !== 0) return lastWords(install.words);
  const still = findMissing(process.env);
  if (still.compiler) return 'apt-get has installed g++, and yet there is no c++ on PATH';
  process.stderr.write(`megatron: installed ${packages.join(' ')}\n`);
  return undefined;
}

/** @param {string} words */
function lastWords(words) {
  const errors = words.split('\n').filter((line) => /^(E|Err|W):/.test(line));
  return (errors.length > 0 ? errors : words.trim().split('\n')).slice(-3).join('\n');
}

/**
 * Provides what the CPU engine needs, or says once what would make it faster. Never an error: there is an engine without either.
 *
 * @param {string} root
 */
export async function provideEngine(root) {
  const missing = findMissing(process.env);
  if (!missing.compiler && !missing.matrixLibrary) return;
  const stamp = join(root, 'node_modules', '.cache', 'megatron', 'system');
  const question = (/** @type {Missing} */ lacking) =>
    JSON.stringify({ ...lacking, user: process.getuid?.(), noApt: process.env.MEGATRON_NO_APT ?? '' });
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === question(missing)) return;
  await tryToProvide(missing);
  try {
    mkdirSync(join(root, 'node_modules', '.cache', 'megatron'), { recursive: true });
    writeFileSync(stamp, question(findMissing(process.env))); // what is still missing will be next time too
  } catch {
    // A read-only checkout: the line is printed again next time.
  }
}

/** @param {Missing} missing */
async function tryToProvide(missing) {
  const osRelease = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const allowed = !['1', 'true', 'yes'].includes((process.env.MEGATRON_NO_APT ?? '').toLowerCase());
  const isRoot = process.getuid?.() === 0;
  if (isRoot && allowed && onPath('apt-get', process.env)) {
    const problem = await installWithApt(missing);
    if (problem === undefined) return;
    process.stderr.write(`megatron: apt-get failed; going on without. Its last words:\n${problem}\n`);
  }
  const advice = adviceFor(missing, { platform: process.platform, osRelease, isRoot, search: aptSearch });
  const effect = missing.compiler ? 'the slow plain-TypeScript engine will run' : 'matrix products will be slower';
  process.stderr.write(`megatron: ${inWords(missing)} not found: ${effect}.\n`);
  process.stderr.write(advice === undefined ? 'Install it to go faster.\n' : `To go faster: ${advice}\n`);
}
