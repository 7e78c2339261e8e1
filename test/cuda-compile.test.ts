/** Every CUDA kernel compiles, by NVRTC and by nvcc where they are on this machine. Neither needs a GPU. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { messageOf } from '../src/base/errors.ts';
import { cacheFolder, findFiles, withIncludes } from '../src/ffi/compile.ts';
import { findCuda } from '../src/ffi/cuda/find.ts';
import { openNvrtc } from '../src/ffi/cuda/nvrtc.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../src', import.meta.url));
const operators = join(root, 'ops');
const sources = findFiles(root, /\.cu$/);
const folder = mkdtempSync(join(tmpdir(), 'megatron-cuda-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** With all that Hopper has: `sm_90` alone would leave wgmma out. */
const architecture = '90a';
/** F16 differs from BF16 in the names of two instructions alone. */
const valueTypes = ['BF16', 'F32'] as const;

interface Compiler {
  readonly label: string;
  readonly version: string;
  /** @throws with the compiler's words. */
  readonly compile: (file: string, flags: readonly string[]) => Promise<void>;
}

const flagsFor = (file: string, valueType: string): string[] => [
  ...['-std=c++17', `-DVALUE_${valueType}`, `-I${dirname(file)}`, `-I${operators}/native/cuda`],
];

async function findNvcc(): Promise<Compiler | undefined> {
  const home = process.env['CUDA_HOME'];
  for (const command of [...(home ? [join(home, 'bin/nvcc')] : []), 'nvcc', '/usr/local/cuda/bin/nvcc']) {
    let version: string;
    try {
      version = (await run(command, ['--version'])).stdout;
    } catch {
      continue; // not there: try the next
    }
    return {
      ...{ label: 'nvcc', version },
      async compile(file, flags) {
        const target = `-gencode=arch=compute_${architecture},code=sm_${architecture}`;
        const { stderr } = await run(command, ['-cubin', target, ...flags, file, '-o', join(folder, 'kernel.cubin')]);
        // Products of warpgroups that run one after another, for want of registers or of order: half the speed, right results.
        expect(stderr).not.toMatch(/wgmma.*serialized/);
      },
    };
  }
  return undefined;
}

function findNvrtc(): Compiler | undefined {
  const path = findCuda().nvrtc;
  if (!path) return undefined;
  const nvrtc = openNvrtc(path);
  const own = [`--gpu-architecture=sm_${architecture}`, '--device-as-default-execution-space'];
  return {
    ...{ label: 'NVRTC', version: nvrtc.version },
    async compile(file, flags) {
      const cubin = nvrtc.compile(readFileSync(file, 'utf8'), file, [...own, ...flags]);
      expect(cubin.length).toBeGreaterThan(0);
    },
  };
}

/** A file in the cache that says that a source compiled, named by all that this depends on: attention takes ten seconds. */
function markOf({ label, version }: Compiler, file: string, flags: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([label, version, architecture, flags]));
  const folders = [operators, `${operators}/native`, `${operators}/native/cuda`];
  for (const part of withIncludes(file, folders)) hash.update(readFileSync(part)).update('\0');
  return join(cacheFolder(), `cuda-compiles-${hash.digest('hex').slice(0, 24)}`);
}

const compilers = [await findNvcc(), findNvrtc()].filter((compiler) => compiler !== undefined);
if (compilers.length === 0) {
  describe('CUDA kernels', () => it.skip('skipped: neither nvcc nor NVRTC is on this machine', () => {}));
}

describe.each(compilers)('CUDA kernels by $label', (compiler) => {
  it.each(sources.map((file) => relative(root, file)))(
    '%s compiles',
    async (name) => {
      const file = join(root, name);
      for (const valueType of valueTypes) {
        const flags = flagsFor(file, valueType);
        const mark = markOf(compiler, file, flags);
        if (existsSync(mark)) continue;
        await compiler.compile(file, flags);
        mkdirSync(cacheFolder(), { recursive: true });
        writeFileSync(mark, '');
      }
    },
    120_000,
  );

  it('a syntax error is reported with its line', async () => {
    const file = join(folder, 'broken.cu');
    writeFileSync(file, '#include "elements.cuh"\nextern "C" __global__ void broken() { int x = ; }\n');
    const words = await compiler.compile(file, flagsFor(file, 'F32')).then(
      () => 'it compiled',
      (error: unknown) => messageOf(error),
    );
    expect(words).toMatch(/broken\.cu\(2\): error/);
  });
});
