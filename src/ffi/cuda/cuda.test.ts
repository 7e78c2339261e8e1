import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noCpuEngine } from '../../../test/support/engines.ts';
import { compileLibrary, findCompiler } from '../compile.ts';
import { openLibrary } from '../native.ts';
import { cudaFolders, findCuda } from './find.ts';
import { bindChecked, CudaError, Out } from './status.ts';
import { cudaVersion } from './versions.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-cuda-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('findCuda', () => {
  it("looks into the packages of a Python environment, and in CUDA's home", () => {
    const lib = join(folder, 'lib', 'python3.11', 'site-packages', 'nvidia', 'cublas', 'lib');
    mkdirSync(lib, { recursive: true });
    const folders = cudaFolders({ VIRTUAL_ENV: folder, CUDA_HOME: '/opt/cuda' });
    expect(folders).toContain(lib);
    expect(folders).toContain('/opt/cuda/lib64');
    writeFileSync(join(lib, 'libcublasLt.so.12'), '');
    expect(findCuda({ VIRTUAL_ENV: folder }).cublasLt).toBe(join(lib, 'libcublasLt.so.12'));
  });

  it('takes all from one folder where that is named', () => {
    writeFileSync(join(folder, 'libcuda.so.1'), '');
    writeFileSync(join(folder, 'libnvrtc.so.13'), '');
    expect(findCuda({ MEGATRON_CUDA_LIBRARIES: folder })).toEqual({
      driver: join(folder, 'libcuda.so.1'),
      nvrtc: join(folder, 'libnvrtc.so.13'),
      cublasLt: undefined,
      nccl: undefined,
    });
  });

  it('never takes the stub of the driver that a toolkit brings', () => {
    const home = join(folder, 'lib64', 'stubs');
    mkdirSync(home, { recursive: true });
    writeFileSync(join(folder, 'lib64', 'libcuda.so'), '');
    writeFileSync(join(home, 'libcuda.so'), '');
    expect(findCuda({ CUDA_HOME: folder }).driver ?? '').not.toContain(folder);
    expect(findCuda({ LD_LIBRARY_PATH: home }).driver ?? '').not.toContain(folder);
  });
});

describe('cudaVersion', () => {
  it('says why a file is no library', () => {
    const path = join(folder, 'libcuda.so.1');
    writeFileSync(path, 'text');
    expect(cudaVersion('driver', path)).toContain('cannot load');
  });
});

describe.skipIf(noCpuEngine)(`bindChecked${noCpuEngine ? ` (${noCpuEngine})` : ''}`, () => {
  const source = `
#include <cstdint>
extern "C" int succeed(int64_t* out, int64_t a, int32_t b, float c, uint32_t d) {
  *out = a + b + static_cast<int64_t>(c) + d;
  return 0;
}
extern "C" int fail(int32_t status) { return status; }
struct Bytes { char bytes[128]; };
extern "C" int last(int64_t* out, Bytes id) { *out = id.bytes[127]; return 0; }
`;

  it('marshals numbers of every width, and names what failed', async () => {
    const compiler = await findCompiler();
    if (!compiler) throw new Error('no compiler');
    const file = join(folder, 'statuses.cpp');
    writeFileSync(file, source);
    const path = await compileLibrary(compiler, { sources: [file], includeFolders: [] });
    const functions = bindChecked(
      openLibrary(path),
      {
        succeed: ['pointer', 'int64', 'int32', 'float', 'uint32'],
        fail: ['int32'],
        last: ['pointer', 'bytes128'],
        missing: [],
      },
      (status) => ({ name: 'CUDA_ERROR_NO_DEVICE', words: `words of ${status}` }),
    );
    const out = new Out();
    functions.succeed(out.place, 2 ** 40, -5, 7, 2 ** 32 - 1);
    expect(out.size).toBe(2 ** 40 - 5 + 7 + 2 ** 32 - 1);
    functions.last(out.place, { bytes: new Uint8Array(128).fill(9, 127) });
    expect(out.size).toBe(9);
    let error: unknown;
    try {
      functions.fail(100);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(CudaError);
    expect((error as CudaError).message).toBe('fail: CUDA_ERROR_NO_DEVICE (100), words of 100');
    expect((error as CudaError).remedy).toContain('--device cpu');
    expect(() => functions.missing()).toThrow(/missing/); // bound when called, so that the others worked
  });
});
