/** The MPI installations of this machine: compiler wrappers that know where headers and libraries lie. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { EngineError } from '../../base/errors.ts';
import { findLibraries } from '../../ffi/libraries.ts';
import type { MpiImplementation } from './launch.ts';

export interface MpiInstallation {
  readonly implementation: MpiImplementation;
  /** "4.1.4"; undefined where the wrapper does not say. */
  readonly version: string | undefined;
  /** The compiler wrapper that told. */
  readonly wrapper: string;
  /** -I and -D flags. */
  readonly compileFlags: readonly string[];
  /** -L, -l and -Wl flags, with the libraries' folders for the loader to search. */
  readonly linkFlags: readonly string[];
  /** The mpi.h that they lead to, where it is not in the compiler's own folders. */
  readonly header: string | undefined;
}

type Run = (command: string, args: readonly string[]) => Promise<string | undefined>;

/** Standard output; undefined where the program is not there or fails. */
const outputOf: Run = (command, args) =>
  new Promise((resolve) => {
    const options = { timeout: 20_000, encoding: 'utf8' } as const;
    execFile(command, [...args], options, (error, stdout) => resolve(error === null ? stdout.trim() : undefined));
  });

/** Full paths of the wrappers, best first: the one named, those of PATH, those of packages that stay out of PATH. */
function wrappers(environment: NodeJS.ProcessEnv): string[] {
  const names = ['mpicc', 'mpicc.openmpi', 'mpicc.mpich'];
  const packaged = ['/usr/lib64/openmpi/bin', '/usr/lib64/mpich/bin', '/opt/homebrew/bin', '/usr/local/bin'];
  const folders = [...(environment['PATH'] ?? '').split(delimiter), ...packaged].filter((folder) => folder !== '');
  const found = folders.flatMap((folder) => names.map((name) => join(folder, name))).filter((path) => existsSync(path));
  const named = environment['MPICC'];
  return [...new Set(named ? [named, ...found] : found)];
}

/** Words of a command line as a shell would cut it, for the quoting that wrappers use. */
export function shellWords(line: string): string[] {
  const words = line.match(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? [];
  return words.map((word) => word.replace(/\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/g, (_, a, b, c) => a ?? b ?? c ?? ''));
}

/** What a wrapper's `-show` line means for a compiler of our own choice. */
export function flagsOf(line: string): Pick<MpiInstallation, 'compileFlags' | 'linkFlags'> {
  const words = shellWords(line).slice(1);
  const compileFlags: string[] = [];
  const linkFlags: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    const next = words[i + 1];
    if (/^-[IDL]$/.test(word) && next !== undefined) words[i + 1] = `${word}${next}`;
    else if (/^-(isystem|include)$/.test(word) && next !== undefined) compileFlags.push(word, words[++i] as string);
    else if (/^-[ID]/.test(word)) compileFlags.push(word);
    else if (word === '-pthread') linkFlags.push(word);
    else if (/^-[Ll]|^-Wl,|\.(so|a|dylib)(\.\d+)*$/.test(word)) {
      linkFlags.push(word);
      // A library in a folder of its own must be found again when the program runs.
      if (word.startsWith('-L')) linkFlags.push(`-Wl,-rpath,${word.slice(2)}`);
    }
  }
  return { compileFlags, linkFlags };
}

/** Every installation whose wrapper works, in the order in which they would be taken. */
export async function findMpi(
  environment: NodeJS.ProcessEnv = process.env,
  run: Run = outputOf,
): Promise<MpiInstallation[]> {
  const found = await Promise.all(wrappers(environment).map((wrapper) => examine(wrapper, run)));
  const seen = new Set<string>();
  return found.filter((one) => {
    if (!one) return false;
    const key = JSON.stringify([one.compileFlags, one.linkFlags]);
    return !seen.has(key) && seen.add(key);
  }) as MpiInstallation[];
}

async function examine(wrapper: string, run: Run): Promise<MpiInstallation | undefined> {
  // Open MPI's wrapper knows the second, MPICH's the third; each hands the other's question to the compiler.
  const [line, openMpi, mpich] = await Promise.all([
    run(wrapper, ['-show']),
    run(wrapper, ['--showme:version']),
    run(wrapper, ['-v']),
  ]);
  if (line === undefined) return undefined;
  const flags = flagsOf(line);
  const folders = flags.compileFlags.flatMap((flag) => (flag.startsWith('-I') ? [flag.slice(2)] : []));
  const header = [...folders, '/usr/include'].map((folder) => join(folder, 'mpi.h')).find((path) => existsSync(path));
  const isOpenMpi = openMpi !== undefined && /open[ -]?mpi/i.test(openMpi);
  const version = /\d+(\.\d+)+\w*/.exec(
    (isOpenMpi ? openMpi : /^.*for MPICH version.*$/m.exec(mpich ?? '')?.[0]) ?? '',
  );
  return { implementation: isOpenMpi ? 'Open MPI' : 'MPICH', version: version?.[0], wrapper, ...flags, header };
}

export const developmentPackages: Readonly<Record<MpiImplementation, string>> = {
  'Open MPI':
    'Debian/Ubuntu: apt-get install libopenmpi-dev; Fedora: dnf install openmpi-devel; macOS: brew install open-mpi',
  MPICH: 'Debian/Ubuntu: apt-get install libmpich-dev; Fedora: dnf install mpich-devel; macOS: brew install mpich',
};

/**
 * The installation that fits the launcher; any where the launcher fits all.
 *
 * @throws EngineError that names the packages to install.
 */
export function chooseMpi(
  installations: readonly MpiInstallation[],
  wanted: MpiImplementation | undefined,
  launcher: string,
): MpiInstallation {
  const chosen = installations.find(({ implementation }) => wanted === undefined || implementation === wanted);
  if (chosen) return chosen;
  const library = runtimeLibraries().find(({ implementation }) => wanted === undefined || implementation === wanted);
  const others = installations.map(({ implementation, wrapper }) => `${implementation} (${wrapper})`);
  const there =
    others.length > 0
      ? `only ${others.join(', ')} is installed with its headers: every rank would be alone in a world of its own`
      : library
        ? `${library.path} is there, but not the headers and the compiler wrapper mpicc`
        : 'no mpicc is there';
  const packages = wanted
    ? developmentPackages[wanted]
    : `${developmentPackages['Open MPI']} (or libmpich-dev, mpich-devel)`;
  const alternative = others.length > 0 ? ' Or start with the mpirun of the installation that is there.' : '';
  throw new EngineError(`${launcher} started this process, but ${there}`, {
    remedy: `${packages}. MPICC=/path/to/mpicc names a wrapper elsewhere.${alternative}`,
  });
}

/** MPI libraries in the loader's folders: there is at least what a program needs that was compiled elsewhere. */
export function runtimeLibraries(): { readonly implementation: MpiImplementation; readonly path: string }[] {
  // Open MPI's library has been libmpi.so.40 since 2018 (.12 and .20 before); MPICH's ABI is libmpi.so.12 or libmpich.so.12.
  const openMpi = findLibraries(/^libmpi\.(so\.(20|40)|\d+\.dylib)$/)[0];
  const mpich = findLibraries(/^libmpich\.so\.12$|^libmpi\.so\.12$|^libmpich?\.12\.dylib$/)[0];
  return [
    ...(openMpi ? [{ implementation: 'Open MPI', path: openMpi } as const] : []),
    ...(mpich ? [{ implementation: 'MPICH', path: mpich } as const] : []),
  ];
}
