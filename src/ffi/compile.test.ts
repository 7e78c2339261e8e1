import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { noCpuEngine } from '../../test/support/engines.ts';
import { EngineError, MegatronError } from '../base/errors.ts';
import { type Compiler, cacheFolder, compileLibrary, findCompiler, findFiles } from './compile.ts';
import { openLibrary } from './native.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-compile-'));
  vi.stubEnv('MEGATRON_CACHE_DIR', join(folder, 'cache'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const write = (name: string, content: string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const cached = (): string[] => readdirSync(join(folder, 'cache')).filter((name) => name !== 'objects');

async function compiler(): Promise<Compiler> {
  const found = await findCompiler();
  if (!found) throw new Error('no compiler');
  return found;
}

describe('cacheFolder', () => {
  it('is the one named, else below the user’s cache', () => {
    expect(cacheFolder({ MEGATRON_CACHE_DIR: '/a/b' })).toBe('/a/b');
    expect(cacheFolder({ XDG_CACHE_HOME: '/c' })).toBe(join('/c', 'megatron-ts'));
    expect(cacheFolder({})).toMatch(/\.cache[/\\]megatron-ts$/);
  });
});

describe('findCompiler', () => {
  it('passes over a CXX that does not run', async () => {
    const found = await findCompiler({ CXX: join(folder, 'no-such-compiler') });
    expect(found?.command ?? '').not.toContain('no-such');
  });
});

describe('findFiles', () => {
  it('finds files of a tree by name, in order', () => {
    write('b.cpp', '');
    write('a.cpp', '');
    write('c.h', '');
    expect(findFiles(folder, /\.cpp$/)).toEqual([join(folder, 'a.cpp'), join(folder, 'b.cpp')]);
  });
});

describe.skipIf(noCpuEngine)(`compileLibrary${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  it('compiles once, and again only when a source or a header changes', async () => {
    write('n.h', '#define N 3\n');
    const source = write('n.cpp', '#include "n.h"\nextern "C" int answer() { return N; }\n');
    let compilations = 0;
    const request = {
      sources: [source],
      includeFolders: [folder],
      onCompile: () => void compilations++,
    };
    const first = await compileLibrary(await compiler(), request);
    expect(openLibrary(first).bind('answer', 'int32', [])()).toBe(3);
    expect(await compileLibrary(await compiler(), request)).toBe(first);
    expect(compilations).toBe(1);
    write('n.h', '#define N 4\n');
    const second = await compileLibrary(await compiler(), request);
    expect(second).not.toBe(first);
    expect(openLibrary(second).bind('answer', 'int32', [])()).toBe(4);
    expect(compilations).toBe(2);
    expect(cached().length).toBe(2); // nothing half-made stays behind
    // linked anew, of objects that are there
    expect(await compileLibrary(await compiler(), { ...request, linkFlags: ['-lm'] })).not.toBe(second);
    expect(compilations).toBe(2);
  });

  it('does without OpenMP where the compiler has none, and says how to get it', async () => {
    const { command, version } = await compiler();
    const bare = write('bare-c++', `#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; esac\nexec ${command} "$@"\n`);
    chmodSync(bare, 0o755);
    const source = write('n.cpp', 'extern "C" int answer() { return 5; }\n');
    const notices: string[] = [];
    const request = { sources: [source], includeFolders: [], onSerial: (n: string) => notices.push(n) };
    const path = await compileLibrary({ command: bare, version }, request);
    expect(openLibrary(path).bind('answer', 'int32', [])()).toBe(5);
    expect(notices).toHaveLength(process.platform === 'darwin' ? 0 : 1);
    if (process.platform !== 'darwin') expect(notices[0]).toContain('libomp-dev');
  });

  it('reports the compiler’s own words, and leaves nothing behind', async () => {
    const source = write('broken.cpp', 'int answer() { return no_such_name; }\n');
    const request = { sources: [source], includeFolders: [] };
    const error = await compileLibrary(await compiler(), request).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toMatch(/broken\.cpp[\s\S]*no_such_name/);
    expect((error as EngineError).remedy).toContain('CXX');
    expect(cached()).toEqual([]);
  });

  it('names the cache folder when it cannot be used', async () => {
    write('cache', 'a file where the folder should be');
    const source = write('n.cpp', 'extern "C" int answer() { return 1; }\n');
    const compiling = compileLibrary(await compiler(), { sources: [source], includeFolders: [] });
    await expect(compiling).rejects.toThrow(MegatronError);
    await expect(compiling).rejects.toThrow('MEGATRON_CACHE_DIR');
  });

  it('names a function that a library lacks, and a library that does not load', async () => {
    const source = write('n.cpp', 'extern "C" int answer() { return 1; }\n');
    const path = await compileLibrary(await compiler(), { sources: [source], includeFolders: [] });
    expect(() => openLibrary(path).bind('no_such_function', 'void', [])).toThrow(/no_such_function/);
    expect(() => openLibrary(write('not-a-library.so', 'text'))).toThrow(EngineError);
  });

  it('serves several processes that compile into one cache at once', async () => {
    const source = write('n.cpp', 'extern "C" int answer() { return 42; }\n');
    const script = write(
      'child.mts',
      `import { compileLibrary, findCompiler } from ${JSON.stringify(fileURLToPath(new URL('compile.ts', import.meta.url)))};
import { openLibrary } from ${JSON.stringify(fileURLToPath(new URL('native.ts', import.meta.url)))};
const compiler = await findCompiler();
const path = await compileLibrary(compiler, { sources: [${JSON.stringify(source)}], includeFolders: [] });
console.log(openLibrary(path).bind('answer', 'int32', [])(), path);
`,
    );
    const outputs = await Promise.all(Array.from({ length: 5 }, () => output(process.execPath, [script])));
    expect(new Set(outputs).size).toBe(1);
    expect(outputs[0]).toMatch(/^42 /);
    expect(cached().length).toBe(1);
  });
});

/** What a process prints; rejects with its errors when it fails. */
function output(command: string, values: readonly string[]): Promise<string> {
  const child = spawn(command, values, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [printed, errors] = ['', ''];
  child.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(printed) : reject(new Error(`exit ${code}: ${errors}`))));
  });
}
