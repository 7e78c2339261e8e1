/** Installs the npm packages of the lock file, once: `npm ci`, quietly, and safe when two commands start together. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {{ version?: string, optional?: boolean, link?: boolean, os?: string | string[], cpu?: string | string[], libc?: string | string[] }} LockedPackage
 * @typedef {{ packages?: Record<string, LockedPackage> }} LockFile
 */

/**
 * What the installed packages were installed from: the lock file's hash and the platform (a folder may be shared by two).
 *
 * @param {string} root
 */
export function wantedStamp(root) {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform}-${process.arch}`;
}

/** @param {string} root */
function stampPath(root) {
  return join(root, 'node_modules', '.cache', 'megatron', 'packages');
}

/**
 * @param {string} path
 * @returns {string | undefined}
 */
function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * @param {string | string[] | undefined} allowed values as in a package's `os` and `cpu`
 * @param {string} value
 */
function allows(allowed, value) {
  return allowed === undefined || [allowed].flat().includes(value);
}

/**
 * Whether an installation made by hand holds all that the lock file asks for on this platform.
 *
 * @param {LockFile} lock `package-lock.json`
 * @param {LockFile} installed `node_modules/.package-lock.json`, npm's own record
 * @param {{ platform: string, arch: string }} machine
 */
export function installationMatches(lock, installed, machine) {
  const present = installed.packages ?? {};
  for (const [path, wanted] of Object.entries(lock.packages ?? {})) {
    if (path === '' || wanted.link === true) continue;
    const version = present[path]?.version;
    if (version === wanted.version) continue;
    if (version === undefined && wanted.optional === true) {
      const named = wanted.os !== undefined && wanted.cpu !== undefined && wanted.libc === undefined;
      if (!named || !allows(wanted.os, machine.platform) || !allows(wanted.cpu, machine.arch)) continue;
    }
    return false;
  }
  return true;
}

/** @param {string} root */
function installed(root) {
  const wanted = wantedStamp(root);
  if (readIfThere(stampPath(root)) === wanted) return true;
  const record = readIfThere(join(root, 'node_modules', '.package-lock.json'));
  if (record === undefined) return false;
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  if (!installationMatches(lock, JSON.parse(record), process)) return false;
  writeStamp(root, wanted);
  return true;
}

/**
 * @param {string} root
 * @param {string} stamp
 */
function writeStamp(root, stamp) {
  try {
    mkdirSync(join(root, 'node_modules', '.cache', 'megatron'), { recursive: true });
    writeFileSync(stampPath(root), stamp);
  } catch {
    // A read-only checkout: the packages are compared again next time.
  }
}

/**
 * npm as it was started (`npm run` names itself), else the one on PATH.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @returns {{ command: string, prefix: string[] }}
 */
export function npmCommand(environment) {
  const script = environment.npm_execpath;
  if (script !== undefined && /^np[mx](-cli)?\.c?js$/.test(basename(script)) && existsSync(script)) {
    return { command: process.execPath, prefix: [script] };
  }
  return { command: process.platform === 'win32' ? 'npm.cmd' : 'npm', prefix: [] };
}

/**
 * @param {string} root
 * @returns {Promise<{ code: number, words: string, interrupted: NodeJS.Signals | undefined }>} npm's exit code, everything it said, and the
 *   signal that asked us to stop meanwhile: npm has then tidied up and ended
 */
function runNpmCi(root) {
  const { command, prefix } = npmCommand(process.env);
  const options = ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--engine-strict=false'];
  const quiet = ['--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
  return new Promise((finish) => {
    const child = spawn(command, [...prefix, ...options, ...quiet], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32' && prefix.length === 0,
    });
    let words = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      words += chunk.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    /** @type {NodeJS.Signals | undefined} */
    let interrupted;
    const stop = (/** @type {NodeJS.Signals} */ signal) => {
      interrupted = signal;
      child.kill(signal);
    };
    const end = (/** @type {number} */ code) => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      finish({ code, words, interrupted });
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    child.on('error', (error) => {
      words += `cannot start npm: ${error.message}`;
      end(1);
    });
    child.on('close', (code) => end(code ?? 1));
  });
}

/** A lock that no one touched for this long belongs to a process that is gone. */
const staleAfterMilliseconds = 6000;

/**
 * Runs `work` while no other process runs it: `npm ci` empties node_modules, under the feet of whoever else uses it.
 *
 * @template T
 * @param {string} lock path of a folder; making a folder is atomic everywhere
 * @param {() => Promise<T>} work
 */
export async function exclusively(lock, work) {
  for (let told = false; ; ) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    }
    const touched = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
    if (touched !== undefined && Date.now() - touched > staleAfterMilliseconds) {
      // Renamed before it is removed: of two that wait only one gets it, and the new lock of the other is given back.
      const aside = `${lock}-${process.pid}-${Date.now()}`;
      try {
        renameSync(lock, aside);
        if (statSync(aside).mtimeMs === touched) rmSync(aside, { recursive: true, force: true });
        else renameSync(aside, lock);
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
      }
      continue;
    }
    if (!told) process.stderr.write('megatron: another command is installing the npm packages; waiting for it\n');
    told = true;
    await sleep(300);
  }
  const beat = setInterval(() => {
    try {
      utimesSync(lock, new Date(), new Date());
    } catch {
      // Removed by hand: whoever did it wanted the way free.
    }
  }, staleAfterMilliseconds / 6);
  const leave = () => rmSync(lock, { recursive: true, force: true });
  process.once('exit', leave);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    process.off('exit', leave);
    leave();
  }
}

/**
 * Installs what the lock file asks for, unless it is there.
 *
 * @param {string} root
 * @returns {Promise<boolean>} false where it failed; the reason has been printed
 */
export async function installPackages(root) {
  if (installed(root)) return true;
  mkdirSync(join(root, '.cache'), { recursive: true });
  const result = await exclusively(join(root, '.cache', 'installing'), async () => {
    if (installed(root)) return true;
    process.stderr.write('megatron: installing the npm packages (npm ci, about 400 MB on disk, once) …\n');
    const { code, words, interrupted } = await runNpmCi(root);
    if (code === 0) {
      writeStamp(root, wantedStamp(root));
      return true;
    }
    if (interrupted !== undefined) return interrupted;
    process.stderr.write(`${words.trimEnd()}\n\nmegatron: npm could not install the packages; its words are above.\n`);
    process.stderr.write('Check the network and the registry (`npm ping`), then run the same command again.\n');
    return false;
  });
  if (typeof result !== 'string') return result;
  process.kill(process.pid, result);
  return false;
}
