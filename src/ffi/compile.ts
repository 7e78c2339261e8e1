/** Compiles the C++ kernels with the machine's own compiler, once, into a cache named by content. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { cpus, homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { EngineError, messageOf } from '../base/errors.ts';
import { fileError, temporaryBeside } from '../base/files.ts';

const run = promisify(execFile);

/** The folder for what can be made again: compiled kernels. `MEGATRON_CACHE_DIR` moves it. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const named = environment['MEGATRON_CACHE_DIR'];
  if (named) return named;
  return join(environment['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'megatron-ts');
}

export interface Compiler {
  readonly command: string;
  /** First line of `--version`. */
  readonly version: string;
}

/** The first of $CXX, c++, g++ and clang++ that runs, or undefined. */
export async function findCompiler(environment: NodeJS.ProcessEnv = process.env): Promise<Compiler | undefined> {
  for (const command of [environment['CXX'], 'c++', 'g++', 'clang++']) {
    if (!command) continue;
    try {
      const { stdout } = await run(command, ['--version']);
      return { command, version: stdout.split('\n')[0] ?? command };
    } catch {
      // not there: try the next
    }
  }
  return undefined;
}

/** `-march=native` code runs only on the processor kind it was made for, so the kind is part of the cache's key. */
function processorKind(): string {
  const model = cpus()[0]?.model ?? 'unknown';
  try {
    const flags = /^(?:flags|Features)\s*:.*$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'));
    return `${model} ${flags?.[0] ?? ''}`;
  } catch {
    return model; // no /proc on macOS
  }
}

// NaN and infinity must survive (no -ffinite-math-only); sums may be reordered, which is what lets them vectorize.
const commonFlags = [
  ...['-std=c++17', '-O3', '-fPIC', '-fvisibility=default', '-Wall', '-Wno-unknown-pragmas', '-Wno-psabi'],
  ...['-fno-math-errno', '-fno-trapping-math', '-fno-signed-zeros', '-fassociative-math', '-freciprocal-math'],
  '-ffp-contract=fast',
];
const processorFlag = process.arch === 'x64' ? '-march=native' : '-mcpu=native';
// Never unloaded: OpenMP's threads outlive the last call into the library.
const linkFlags = process.platform === 'darwin' ? ['-dynamiclib'] : ['-shared', '-Wl,-z,nodelete'];

/** `-fopenmp` where it works: clang comes without its header and library on Linux. Kernels then take their serial branch. */
async function threadFlagsOf({ command }: Compiler, onSerial?: (notice: string) => void): Promise<string[]> {
  if (process.platform === 'darwin') return [];
  const probe = run(command, ['-fopenmp', '-fsyntax-only', '-x', 'c++', '-']);
  probe.child.stdin?.on('error', () => {}).end('#include <omp.h>\n');
  try {
    await probe;
    return ['-fopenmp'];
  } catch (error) {
    // a signal to the terminal's processes (Ctrl-C) says nothing about OpenMP
    if ((error as { readonly signal?: string | null }).signal) throw new EngineError(`${command} was interrupted`);
    onSerial?.(
      `${command} has no OpenMP: kernels run on one thread (Debian/Ubuntu: apt-get install libomp-dev, or g++, or set CXX)`,
    );
    return [];
  }
}

export interface CompileRequest {
  /** First word of the file's name in the cache; "kernels" where not given. */
  readonly name?: string;
  /** C++ files; each becomes one object, made again only when it or a file that it includes changes. */
  readonly sources: readonly string[];
  readonly includeFolders: readonly string[];
  /** Headers of other libraries, which sources include by <name>: part of the cache's key. */
  readonly foreignHeaders?: readonly string[];
  /** Flags after ours, which they override; part of the cache's key. */
  readonly compileFlags?: readonly string[];
  /** Flags after the objects: libraries of others, and where they lie; part of the cache's key. */
  readonly linkFlags?: readonly string[];
  /** What the user is told to do when a source does not compile. */
  readonly remedy?: string;
  /** Called once, just before a compilation that is really needed. */
  readonly onCompile?: (compiler: Compiler, files: number) => void;
  /** Called with a notice where the library runs on one thread only, because the compiler has no OpenMP. */
  readonly onSerial?: (notice: string) => void;
}

/**
 * The path of a shared library made from the sources: from the cache, or compiled now. Safe in any number of processes at
 * once: each compiles in a folder of its own and renames the result into place.
 *
 * @throws EngineError with the compiler's words when a source does not compile.
 */
export async function compileLibrary(compiler: Compiler, request: CompileRequest): Promise<string> {
  const threadFlags = await threadFlagsOf(compiler, request.onSerial);
  const flags = [...commonFlags, processorFlag, ...threadFlags, ...(request.compileFlags ?? [])];
  const libraries = request.linkFlags ?? [];
  const foreign = request.foreignHeaders ?? [];
  const processor = processorKind();
  const read = readOnce(); // sources share most of their headers, and this runs whenever an engine starts
  const objects = request.sources.map((source) => {
    const files = [...withIncludes(source, request.includeFolders, read), ...foreign];
    const key = keyOf([compiler, flags, processor, files.map(read)]);
    return { source, key, object: join(cacheFolder(), 'objects', `${basename(source)}-${key}.o`) };
  });
  const key = keyOf([compiler, linkFlags, libraries, objects.map((object) => object.key)]);
  const extension = process.platform === 'darwin' ? 'dylib' : 'so';
  const target = join(cacheFolder(), `${request.name ?? 'kernels'}-${key}.${extension}`);
  if (existsSync(target)) return target;

  const waiting = objects.filter(({ object }) => !existsSync(object));
  if (waiting.length > 0) request.onCompile?.(compiler, waiting.length);
  let workFolder: string;
  try {
    mkdirSync(join(dirname(target), 'objects'), { recursive: true });
    workFolder = mkdtempSync(join(dirname(target), 'compile-'));
  } catch (error) {
    throw fileError(`cannot use the cache folder ${dirname(target)} (MEGATRON_CACHE_DIR chooses another)`, error);
  }
  try {
    const includes = request.includeFolders.map((folder) => `-I${folder}`);
    const worker = async (): Promise<void> => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const made = join(workFolder, basename(next.object));
        await compile(compiler, [...flags, ...includes, '-c', next.source, '-o', made], next.source, request.remedy);
        renameSync(made, next.object);
      }
    };
    await Promise.all(Array.from({ length: Math.min(4, cpus().length) }, worker));
    const finished = temporaryBeside(target);
    const objectFiles = objects.map(({ object }) => object);
    const values = [...linkFlags, ...threadFlags, ...objectFiles, ...libraries, '-o', finished];
    await compile(compiler, values, basename(target), request.remedy);
    renameSync(finished, target);
    return target;
  } finally {
    rmSync(workFolder, { recursive: true, force: true });
  }
}

/** Reads text files, each once. */
function readOnce(): (file: string) => string {
  const texts = new Map<string, string>();
  return (file) => {
    const text = texts.get(file) ?? readFileSync(file, 'utf8');
    texts.set(file, text);
    return text;
  };
}

const keyOf = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);

/** A source and all files that it includes by "name", in the order of their first mention. */
export function withIncludes(source: string, folders: readonly string[], read = readOnce()): string[] {
  const files = [source];
  for (const file of files) {
    for (const [, name = ''] of read(file).matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
      const found = [dirname(file), ...folders].map((folder) => join(folder, name)).find((path) => existsSync(path));
      if (found && !files.includes(found)) files.push(found);
    }
  }
  return files;
}

async function compile(
  compiler: Compiler,
  flags: readonly string[],
  what: string,
  remedy = 'Set CXX to another compiler, or use --device reference (slow) meanwhile.',
): Promise<void> {
  try {
    await run(compiler.command, [...flags], { maxBuffer: 16 * 1024 * 1024 });
  } catch (error) {
    const words = (error as { stderr?: string }).stderr?.trim() || messageOf(error);
    throw new EngineError(`${compiler.command} failed on ${what}:\n${words}`, {
      cause: error,
      remedy: `Compiler: ${compiler.version}. ${remedy}`,
    });
  }
}

/** Files of a folder tree, by name pattern, in a stable order. */
export function findFiles(folder: string, name: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => name.test(basename(file)))
    .toSorted()
    .map((file) => join(folder, file));
}
