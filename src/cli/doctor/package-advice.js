/**
 * Which system packages bring a compiler and oneDNN, and the one command that installs them.
 *
 * Plain JavaScript: `scripts/bootstrap.mjs` needs it on the Node that is there, before the pinned one is.
 */

import { spawnSync } from 'node:child_process';

/**
 * @typedef {object} Missing
 * @property {boolean} compiler no C++ compiler
 * @property {boolean} matrixLibrary no oneDNN (on macOS Accelerate does its work, so nothing is missing there)
 *
 * @typedef {object} SystemFacts
 * @property {string} platform as `process.platform`
 * @property {string} osRelease text of /etc/os-release
 * @property {boolean} isRoot
 * @property {(pattern: string) => string[]} search names of Debian packages that match a pattern
 */

/**
 * Names of Debian packages that match, from the package lists that are on the disk.
 *
 * @param {string} pattern regular expression
 * @returns {string[]}
 */
export function aptSearch(pattern) {
  const found = spawnSync('apt-cache', ['search', '--names-only', pattern], { encoding: 'utf8' });
  return (found.stdout ?? '')
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
}

/**
 * The oneDNN runtime among package names: libdnnl2 in Debian 12, libdnnl3 or libdnnl3.6 later. The newest wins.
 *
 * @param {readonly string[]} names
 * @returns {string | undefined}
 */
export function pickOneDnnPackage(names) {
  /** @param {string} name */
  const version = (name) => name.slice('libdnnl'.length).split('.').map(Number);
  return names
    .filter((name) => /^libdnnl\d+(\.\d+)*$/.test(name))
    .sort((a, b) => {
      const [left, right] = [version(a), version(b)];
      return (left[0] ?? 0) - (right[0] ?? 0) || (left[1] ?? 0) - (right[1] ?? 0);
    })
    .at(-1);
}

/**
 * Debian packages that fill the gap; OpenBLAS where the distribution has no oneDNN.
 *
 * @param {Missing} missing
 * @param {(pattern: string) => string[]} search
 * @returns {string[]}
 */
export function debianPackages(missing, search) {
  const packages = missing.compiler ? ['g++'] : [];
  if (missing.matrixLibrary) {
    const library = pickOneDnnPackage(search('^libdnnl[0-9.]+$')) ?? search('^libopenblas0-pthread$')[0];
    if (library !== undefined) packages.push(library);
  }
  return packages;
}

/** Package managers by a word in os-release's ID or ID_LIKE: command, C++ compiler, matrix library. */
const managers = /** @type {const} */ ([
  [/fedora|rhel|centos/, 'dnf install -y', 'gcc-c++', 'onednn'],
  [/arch/, 'pacman -S --needed', 'gcc', 'onednn'],
  [/suse/, 'zypper install -y', 'gcc-c++', 'libdnnl3'],
  [/alpine/, 'apk add', 'g++', 'openblas'],
]);

/**
 * The one command that would install what is missing; undefined on systems we do not know.
 *
 * @param {Missing} missing
 * @param {SystemFacts} system
 * @returns {string | undefined}
 */
export function adviceFor(missing, system) {
  if (!missing.compiler && !missing.matrixLibrary) return undefined;
  if (system.platform === 'darwin') return 'xcode-select --install';
  if (system.platform !== 'linux') return undefined;
  const sudo = system.isRoot ? '' : 'sudo ';
  const family = system.osRelease
    .split('\n')
    .filter((line) => /^ID(_LIKE)?=/.test(line))
    .join(' ');
  if (/debian|ubuntu/.test(family)) {
    const packages = debianPackages(missing, system.search);
    // Without package lists nothing can be looked up; the development package has one name everywhere.
    if (missing.matrixLibrary && packages.length === (missing.compiler ? 1 : 0)) packages.push('libdnnl-dev');
    return `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  }
  const manager = managers.find(([word]) => word.test(family));
  if (manager === undefined) return undefined;
  const [, command, compiler, library] = manager;
  const packages = [...(missing.compiler ? [compiler] : []), ...(missing.matrixLibrary ? [library] : [])];
  return `${sudo}${command} ${packages.join(' ')}`;
}
