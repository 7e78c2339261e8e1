/** The machine itself: system, processor and its units, memory. */

import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { availableMemory } from '../../base/memory.ts';
import type { ProcessorUnit, SystemFindings } from './findings.ts';
import { outputOf } from './programs.ts';

/** Units that the kernels and oneDNN can use: name, the systems' words for it, use. */
const unitTable: Readonly<
  Record<'x64' | 'arm64', readonly (readonly [name: string, flags: readonly string[], use: string])[]>
> = {
  x64: [
    ['AVX2', ['avx2', 'AVX2'], '8 floats at a time'],
    ['FMA', ['fma', 'FMA'], 'multiply and add in one step'],
    ['AVX-512F', ['avx512f', 'AVX512F'], '16 floats at a time'],
    ['AVX512-BF16', ['avx512_bf16'], 'bf16 products, twice as fast as f32'],
    ['AVX512-FP16', ['avx512_fp16'], 'fp16 arithmetic'],
    ['AMX-TILE', ['amx_tile'], 'matrix tiles'],
    ['AMX-BF16', ['amx_bf16'], 'bf16 matrix products, several times as fast as f32'],
    ['AMX-INT8', ['amx_int8'], 'int8 matrix products'],
  ],
  arm64: [
    ['NEON', ['asimd', 'hw.optional.neon', 'hw.optional.AdvSIMD'], '4 floats at a time'],
    ['FP16', ['asimdhp', 'hw.optional.arm.FEAT_FP16'], 'fp16 arithmetic'],
    ['BF16', ['bf16', 'hw.optional.arm.FEAT_BF16'], 'bf16 products'],
    ['I8MM', ['i8mm', 'hw.optional.arm.FEAT_I8MM'], 'int8 matrix products'],
    ['SVE', ['sve'], 'wide vectors'],
    ['SME', ['sme', 'hw.optional.arm.FEAT_SME'], 'matrix tiles'],
  ],
};

/** The processor's words for what it can, from the text of /proc/cpuinfo: "flags" on x86, "Features" on ARM. */
export function flagsOfCpuInfo(cpuInfo: string): ReadonlySet<string> {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuInfo);
  return new Set(line?.[1]?.split(/\s+/) ?? []);
}

/** The same from macOS's `sysctl -a`: feature lists of Intel processors, and the names of all options that are 1. */
export function flagsOfSysctl(sysctl: string): ReadonlySet<string> {
  const flags = new Set<string>();
  for (const line of sysctl.split('\n')) {
    const [name = '', value = ''] = line.split(/:\s*/, 2);
    if (/^machdep\.cpu\.(leaf7_)?features$/.test(name)) for (const word of value.split(/\s+/)) flags.add(word);
    else if (value === '1' && name.startsWith('hw.optional.')) flags.add(name);
  }
  return flags;
}

/** @param architecture as `os.arch()` */
export function unitsOf(flags: ReadonlySet<string>, architecture: string): readonly ProcessorUnit[] {
  const table = architecture === 'arm64' ? unitTable.arm64 : architecture === 'x64' ? unitTable.x64 : [];
  return table.map(([name, words, use]) => ({ name, present: words.some((word) => flags.has(word)), use }));
}

/** Cores without hyper-threads: distinct pairs of socket and core in /proc/cpuinfo. */
export function physicalCoresOf(cpuInfo: string): number | undefined {
  const cores = new Set<string>();
  for (const block of cpuInfo.split(/\n\s*\n/)) {
    const core = /^core id\s*:\s*(\d+)/m.exec(block)?.[1];
    if (core !== undefined) cores.add(`${/^physical id\s*:\s*(\d+)/m.exec(block)?.[1] ?? ''} ${core}`);
  }
  return cores.size > 0 ? cores.size : undefined;
}

/** `PRETTY_NAME` of /etc/os-release. */
export function prettyName(osRelease: string): string | undefined {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1];
}

/** Text of a file; empty where there is none. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export async function examineSystem(): Promise<SystemFindings> {
  const isMac = process.platform === 'darwin';
  const cpuInfo = textOf('/proc/cpuinfo');
  const sysctl = isMac ? ((await outputOf('sysctl', ['-a'])) ?? '') : '';
  const macVersion = isMac ? await outputOf('sw_vers', ['-productVersion']) : undefined;
  const flags = isMac ? flagsOfSysctl(sysctl) : flagsOfCpuInfo(cpuInfo);
  const macCores = Number(/^hw\.physicalcpu:\s*(\d+)/m.exec(sysctl)?.[1]);
  // A container's limit is what the process really has; 0 and absurdly large both mean that there is none.
  const limit = process.constrainedMemory();
  const total = limit > 0 && limit < totalmem() ? limit : totalmem();
  return {
    system: macVersion === undefined ? (prettyName(textOf('/etc/os-release')) ?? type()) : `macOS ${macVersion}`,
    kernel: `${type()} ${release()}`,
    architecture: arch(),
    nodeVersion: process.versions.node,
    processor: cpus()[0]?.model.trim() || 'unknown',
    cores: availableParallelism(),
    physicalCores: isMac ? (Number.isFinite(macCores) ? macCores : undefined) : physicalCoresOf(cpuInfo),
    units: unitsOf(flags, arch()),
    memoryBytes: total,
    availableMemoryBytes: Math.min(total, availableMemory()),
  };
}
