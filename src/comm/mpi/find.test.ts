import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EngineError } from '../../base/errors.ts';
import { chooseMpi, findMpi, flagsOf, type MpiInstallation, shellWords } from './find.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'megatron-mpi-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A compiler wrapper that answers as the real ones do. */
function wrapper(path: string, answers: Record<string, string>): string {
  const file = join(folder, path);
  mkdirSync(join(file, '..'), { recursive: true });
  const cases = Object.entries(answers).map(([flag, answer]) => `${flag}) echo '${answer}' ;;`);
  writeFileSync(file, `#!/bin/sh\ncase $1 in\n${cases.join('\n')}\n*) exit 1 ;;\nesac\n`);
  chmodSync(file, 0o755);
  return file;
}
const openMpi = (path: string) =>
  wrapper(path, {
    '-show': `gcc -I${folder}/include -pthread -L/opt/ompi/lib -lmpi`,
    '--showme:version': 'mpicc: Open MPI 5.0.7 (Language: C)',
  });
const mpich = (path: string) =>
  wrapper(path, {
    '-show': 'gcc -I/opt/mpich/include -L/opt/mpich/lib -lmpich',
    '-v': 'mpicc for MPICH version 4.2.1',
  });

describe('flagsOf', () => {
  it('keeps what leads to headers and libraries, and finds the libraries again at run time', () => {
    expect(
      flagsOf('gcc -O2 -Wl,-z,relro -I/a/include -D_REENTRANT -I /b -L/a/lib -lmpi -pthread /c/libx.so.2'),
    ).toEqual({
      compileFlags: ['-I/a/include', '-D_REENTRANT', '-I/b'],
      linkFlags: ['-Wl,-z,relro', '-L/a/lib', '-Wl,-rpath,/a/lib', '-lmpi', '-pthread', '/c/libx.so.2'],
    });
  });

  it('reads words as a shell does', () => {
    expect(shellWords(`cc -I"/a b" '-L/c d' -D\\"x\\"  -lm`)).toEqual(['cc', '-I/a b', '-L/c d', '-D"x"', '-lm']);
  });
});

describe('findMpi', () => {
  it('tells the implementations apart, and takes the one named first', async () => {
    mkdirSync(join(folder, 'include'));
    writeFileSync(join(folder, 'include', 'mpi.h'), '');
    openMpi('bin/mpicc');
    mpich('bin/mpicc.mpich');
    const named = mpich('elsewhere/mpicc');
    wrapper('bin/mpicc.openmpi', {}); // one that fails
    const found = await findMpi({ PATH: join(folder, 'bin'), MPICC: named });
    const ours = found.filter((one) => one.wrapper.startsWith(folder));
    expect(ours).toMatchObject([
      { implementation: 'MPICH', version: '4.2.1', wrapper: named },
      { implementation: 'Open MPI', version: '5.0.7', header: join(folder, 'include', 'mpi.h') },
    ]); // the wrapper in bin says the same as the named one
  });
});

describe('chooseMpi', () => {
  const installation = (implementation: MpiInstallation['implementation']): MpiInstallation => ({
    implementation,
    version: '1.2',
    wrapper: `/opt/${implementation}/mpicc`,
    compileFlags: [],
    linkFlags: [],
    header: undefined,
  });
  const both = [installation('Open MPI'), installation('MPICH')];

  it('takes the one that the launcher belongs to', () => {
    expect(chooseMpi(both, 'MPICH', 'mpirun of MPICH')).toBe(both[1]);
    expect(chooseMpi(both, undefined, 'srun')).toBe(both[0]);
  });

  const errorOf = (body: () => unknown): EngineError => {
    try {
      body();
    } catch (error) {
      expect(error).toBeInstanceOf(EngineError);
      return error as EngineError;
    }
    throw new Error('nothing was thrown');
  };

  it('says so when launcher and library do not belong together', () => {
    const error = errorOf(() => chooseMpi([installation('MPICH')], 'Open MPI', 'mpirun of Open MPI'));
    expect(error.message).toMatch(/mpirun of Open MPI.*only MPICH \(\/opt\/MPICH\/mpicc\).*alone/);
    expect(error.remedy).toContain('libopenmpi-dev');
  });

  it('names the package when there is nothing', () => {
    expect(errorOf(() => chooseMpi([], 'MPICH', 'mpirun of MPICH')).remedy).toContain('apt-get install libmpich-dev');
    expect(errorOf(() => chooseMpi([], undefined, 'srun')).remedy).toMatch(/libopenmpi-dev.*libmpich-dev/);
  });
});
