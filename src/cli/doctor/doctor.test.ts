import { describe, expect, it } from 'vitest';
import { chooseEngine, examine } from './examine.ts';
import type { Component } from './findings.ts';
import { measureMatrixRate } from './matrix-rate.ts';
import { adviceFor, pickOneDnnPackage } from './package-advice.js';
import { firstLineOf, outputOf } from './programs.ts';
import { report, section } from './report.ts';
import { flagsOfCpuInfo, flagsOfSysctl, physicalCoresOf, prettyName, unitsOf } from './system.ts';

const present = (flags: ReadonlySet<string>, architecture: string) =>
  unitsOf(flags, architecture)
    .filter((unit) => unit.present)
    .map((unit) => unit.name);

describe('processor units', () => {
  it('are read from /proc/cpuinfo on x86', () => {
    const text =
      'processor\t: 0\nflags\t\t: fpu fma avx2 avx512f avx512_bf16 amx_tile amx_bf16\nbugs\t: x\n\nprocessor\t: 1\nflags\t\t: fpu\n';
    expect(present(flagsOfCpuInfo(text), 'x64')).toEqual([
      'AVX2',
      'FMA',
      'AVX-512F',
      'AVX512-BF16',
      'AMX-TILE',
      'AMX-BF16',
    ]);
  });

  it('are read from /proc/cpuinfo on ARM', () => {
    expect(present(flagsOfCpuInfo('Features\t: fp asimd asimdhp sve bf16\n'), 'arm64')).toEqual([
      'NEON',
      'FP16',
      'BF16',
      'SVE',
    ]);
  });

  it("are read from macOS's sysctl", () => {
    const intel = 'machdep.cpu.features: FPU FMA SSE4.2\nmachdep.cpu.leaf7_features: RDWRFSGS AVX2 BMI2\n';
    expect(present(flagsOfSysctl(intel), 'x64')).toEqual(['AVX2', 'FMA']);
    const arm = 'hw.optional.neon: 1\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\n';
    expect(present(flagsOfSysctl(arm), 'arm64')).toEqual(['NEON', 'BF16']);
  });

  it('are none where nothing is known', () => {
    expect(present(flagsOfCpuInfo(''), 'x64')).toEqual([]);
    expect(unitsOf(new Set(['avx2']), 'riscv64')).toEqual([]);
  });
});

describe('physicalCoresOf', () => {
  it('counts a core with two threads once', () => {
    const block = (socket: number, core: number) => `processor : 0\nphysical id : ${socket}\ncore id : ${core}\n`;
    expect(physicalCoresOf([block(0, 0), block(0, 0), block(0, 1), block(1, 0)].join('\n'))).toBe(3);
    expect(physicalCoresOf('processor : 0\nBogoMIPS : 50\n')).toBeUndefined();
  });
});

describe('prettyName', () => {
  it('finds the name of the distribution', () => {
    expect(prettyName('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')).toBe(
      'Debian GNU/Linux 12 (bookworm)',
    );
    expect(prettyName('PRETTY_NAME=Void')).toBe('Void');
    expect(prettyName('')).toBeUndefined();
  });
});

describe('package advice', () => {
  const both = { compiler: true, matrixLibrary: true };
  const debian = (search: (pattern: string) => string[], isRoot = false) =>
    adviceFor(both, { platform: 'linux', osRelease: 'ID=ubuntu\nID_LIKE=debian\n', isRoot, search });

  it('takes the newest oneDNN runtime and no development package', () => {
    expect(pickOneDnnPackage(['libdnnl-dev', 'libdnnl2', 'libdnnl3.6', 'libdnnl3.10', 'libdnnl3-dbgsym'])).toBe(
      'libdnnl3.10',
    );
    expect(pickOneDnnPackage(['libdnnl3', 'libdnnl2'])).toBe('libdnnl3');
    expect(pickOneDnnPackage(['libdnnl-dev'])).toBeUndefined();
  });

  it('names one command for every system that we know', () => {
    const search = (pattern: string) => (pattern.startsWith('^libdnnl') ? ['libdnnl3'] : []);
    const install = 'apt-get install -y --no-install-recommends g++';
    expect(debian(search)).toBe(`sudo apt-get update && sudo ${install} libdnnl3`);
    expect(debian(search, true)).toBe(`apt-get update && ${install} libdnnl3`);
    expect(debian(() => [])).toContain('g++ libdnnl-dev');
    expect(debian((pattern) => (pattern.includes('openblas') ? ['libopenblas0-pthread'] : []))).toContain(
      'g++ libopenblas0-pthread',
    );
    const on = (osRelease: string, platform = 'linux') =>
      adviceFor(both, { platform, osRelease, isRoot: true, search });
    expect(on('ID=fedora\n')).toBe('dnf install -y gcc-c++ onednn');
    expect(on('ID=arch\n')).toBe('pacman -S --needed gcc onednn');
    expect(on('ID=alpine\n')).toBe('apk add g++ openblas');
    expect(on('', 'darwin')).toBe('xcode-select --install');
    expect(on('ID=plan9\n')).toBeUndefined();
  });

  it('asks for what is missing alone', () => {
    const facts = { platform: 'linux', osRelease: 'ID=fedora\n', isRoot: false, search: () => [] };
    expect(adviceFor({ compiler: false, matrixLibrary: true }, facts)).toBe('sudo dnf install -y onednn');
    expect(adviceFor({ compiler: false, matrixLibrary: false }, facts)).toBeUndefined();
  });
});

describe('chooseEngine', () => {
  const components = (...there: string[]): Component[] =>
    ['C++ compiler', 'oneDNN', 'OpenBLAS'].map((name) => ({
      name,
      found: there.includes(name) ? 'x' : undefined,
      use: '',
    }));

  it('is as --device auto chooses', () => {
    expect(chooseEngine(components()).name).toBe('reference');
    expect(chooseEngine(components('oneDNN')).name).toBe('reference');
    expect(chooseEngine(components('C++ compiler'))).toMatchObject({
      name: 'cpu',
      reason: expect.stringContaining('our own'),
    });
    expect(chooseEngine(components('C++ compiler', 'oneDNN', 'OpenBLAS')).reason).toContain('oneDNN');
    expect(chooseEngine(components('C++ compiler', 'OpenBLAS')).reason).toContain('OpenBLAS');
    const gpu = (...there: string[]) => ({
      gpus: ['a GPU'],
      components: there.map((name) => ({ name, found: 'x', use: '' })),
    });
    expect(chooseEngine(components(), gpu('CUDA driver', 'NVRTC', 'cuBLASLt')).name).toBe('cuda');
    expect(chooseEngine(components('C++ compiler'), gpu('CUDA driver', 'cuBLASLt'))).toMatchObject({
      name: 'cpu',
      reason: expect.stringContaining('no NVRTC'),
    });
  });
});

describe('programs', () => {
  it('give their words, or nothing where they are not there or fail', async () => {
    expect(await firstLineOf(process.execPath)).toBe(`v${process.versions.node}`);
    expect(await outputOf('no-such-program-anywhere', [])).toBeUndefined();
    expect(await outputOf(process.execPath, ['-e', 'process.exit(3)'])).toBeUndefined();
  });
});

describe('report', () => {
  it('shows this machine, the measured rate and the engine', async () => {
    const measured = { by: 'cpu: oneDNN', gigaflopsPerSecond: 123.4, problem: 'f32, 8 × 8 × 8' };
    const findings = await examine({ version: '1.2.3', measureMatrixRate: async () => measured });
    const text = report(findings);
    expect(text).toContain('123 GFLOP/s (f32, 8 × 8 × 8; cpu: oneDNN)');
    expect(text).toContain(process.versions.node);
    expect(text).toMatch(/^ {2}engine +(cpu|reference)$/m);
    expect(JSON.parse(JSON.stringify(findings))).toMatchObject({ version: '1.2.3', matrixRate: measured });
  });

  it('survives a rate that cannot be measured', async () => {
    const findings = await examine({ version: '1', measureMatrixRate: () => Promise.reject(new Error('no compiler')) });
    expect(report(findings)).toContain('could not be measured: no compiler');
    expect(report(await examine({ version: '1' }))).toMatch(/matrix rate +not measured/);
  });
});

describe('measureMatrixRate', () => {
  it('multiplies on the engine asked for', async () => {
    const rate = await measureMatrixRate({ device: 'reference' });
    expect(rate.by).toContain('reference');
    expect(rate.problem).toBe('f32, 192 × 192 × 192');
    // Plain TypeScript does about 1 GFLOP/s; three orders of magnitude off would be a mistake in units.
    expect(rate.gigaflopsPerSecond).toBeGreaterThan(0.02);
    expect(rate.gigaflopsPerSecond).toBeLessThan(50);
  });
});

describe('section', () => {
  it('aligns columns', () => {
    expect(
      section('T', [
        ['a', 'bb', 'c'],
        ['aaa', 'b', 'c'],
        ['x', 'y'],
      ]),
    ).toBe('T\n  a    bb  c\n  aaa  b   c\n  x    y');
  });
});
