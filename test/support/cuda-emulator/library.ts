/** Builds the software CUDA, and says where its libraries are. */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Compiler, compileLibrary, findFiles } from '../../../src/ffi/compile.ts';

const folder = fileURLToPath(new URL('.', import.meta.url));
const elements = fileURLToPath(new URL('../../../src/ops/native/elements.h', import.meta.url));
const names = ['libcuda.so.1', 'libnvrtc.so.12', 'libcublasLt.so.12', 'libnccl.so.2'];

/**
 * Compiles fake-cuda.h's libraries once, into the cache.
 *
 * @returns a folder that holds libcuda.so.1, libnvrtc.so.12, libcublasLt.so.12 and libnccl.so.2.
 * @throws EngineError when they do not compile.
 */
export async function buildCudaEmulator(compiler: Compiler): Promise<string> {
  const headers = [...findFiles(folder, /\.h$/), elements];
  // Callers keep compiled kernels by the compiler's version, so a change of the emulator must change that.
  const version = createHash('sha256').update(headers.map((file) => readFileSync(file, 'utf8')).join('\0'));
  const library = await compileLibrary(compiler, {
    name: 'cuda-emulator',
    sources: findFiles(folder, /\.cpp$/),
    includeFolders: [],
    compileFlags: [
      ...['-O1', '-fvisibility=hidden', `-DEMULATOR_HEADER="${join(folder, 'emulator.h')}"`],
      `-DEMULATOR_VERSION=${version.digest().readUInt32BE() % 1_000_000}`,
    ],
    linkFlags: ['-ldl', '-Wl,-Bsymbolic'],
  });
  const place = `${library}.d`;
  mkdirSync(place, { recursive: true });
  for (const name of names) {
    const link = join(place, name);
    try {
      symlinkSync(library, link);
    } catch (error) {
      if (!existsSync(link)) throw error; // another process made it
    }
  }
  return place;
}
