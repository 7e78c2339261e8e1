/** The shim: our C++ over the MPI of this machine, compiled at first use, and its functions as TypeScript sees them. */

import { fileURLToPath } from 'node:url';
import { EngineError } from '../../base/errors.ts';
import { compileLibrary, findCompiler, findFiles } from '../../ffi/compile.ts';
import { type NativeFunction, type NativeType, type NativeValue, openLibrary } from '../../ffi/native.ts';
import type { MpiInstallation } from './find.ts';

/** What the shim's functions report; see shim.cpp. */
export const shimStatus = { fine: 0, peerFailed: 1, mpiFailed: 2, sizesDiffer: 3, peerLeft: 4, deadlock: 5 } as const;

/** Parameters of the functions that return a status or a number. */
const functions = {
  recover_socket: [],
  init: ['pointer', 'double'],
  start_all_reduce: ['int32', 'pointer', 'int64', 'int32', 'int32', 'pointer'],
  finish: ['int64'],
  reduce_scatter: ['int32', 'pointer', 'pointer', 'int64', 'int32'],
  gather: ['int32', 'pointer', 'pointer', 'pointer'],
  broadcast: ['int32', 'pointer', 'int64', 'int32'],
  barrier: ['int32'],
  send: ['int32', 'pointer', 'int64', 'int32'],
  receive: ['int32', 'pointer', 'int64', 'int32'],
  split: ['int32', 'int32', 'int32', 'pointer'],
  free: ['int32'],
  leave: [],
  culprit: [],
  announce: ['pointer', 'int64'],
  acknowledge: [],
  await_others: ['int64', 'pointer'],
  announcement: ['int32', 'pointer', 'int64'],
  finalize: [],
  pending: [],
} as const satisfies Record<string, readonly NativeType[]>;

export type ShimFunction = keyof typeof functions;

export interface Shim {
  /** Version of the MPI library: "Open MPI v4.1.4, …". */
  readonly version: string;
  call(name: ShimFunction, ...values: NativeValue[]): number;
  /** Words of the last error of MPI. */
  lastError(): string;
  /** Ends every process of the run. */
  abort(exitCode: number): void;
}

/**
 * Compiles and opens the shim for an installation.
 *
 * @param notify where the notice of a first compilation goes
 * @throws EngineError when there is no compiler, or it fails, or the MPI library does not load.
 */
export async function openShim(installation: MpiInstallation, notify?: (message: string) => void): Promise<Shim> {
  const compiler = await findCompiler();
  if (!compiler) {
    throw new EngineError('MPI needs a C++ compiler, and none of c++, g++, clang++ is there', {
      remedy: 'Debian/Ubuntu: apt-get install g++; macOS: xcode-select --install.',
    });
  }
  const folder = fileURLToPath(new URL('shim', import.meta.url));
  const elements = fileURLToPath(new URL('../../ops/native', import.meta.url)); // 16-bit floats, as in the kernels
  const path = await compileLibrary(compiler, {
    name: 'mpi',
    sources: findFiles(folder, /\.cpp$/),
    // the header of MPI belongs to the key: an upgrade may change its constants
    foreignHeaders: installation.header === undefined ? [] : [installation.header],
    includeFolders: [folder, elements],
    // The old C++ bindings would want another library. Sums must stay in rank order.
    compileFlags: [
      ...['-DOMPI_SKIP_MPICXX', '-DMPICH_SKIP_MPICXX', '-fno-associative-math', '-fsigned-zeros'],
      ...installation.compileFlags,
    ],
    linkFlags: installation.linkFlags,
    remedy: `It was compiled for ${installation.implementation} as ${installation.wrapper} says; MPICC names another wrapper.`,
    onCompile: () => notify?.(`compiling the MPI part once, for ${installation.implementation} …`),
  });
  // Open MPI's plug-ins look for its symbols in the program.
  const library = openLibrary(path, { global: true });
  const bound = new Map<string, NativeFunction>();
  for (const [name, parameters] of Object.entries(functions)) {
    bound.set(name, library.bind(`megatron_mpi_${name}`, 'int32', parameters));
  }
  const text = (name: string): string => {
    const buffer = Buffer.alloc(8192);
    library.bind(`megatron_mpi_${name}`, 'void', ['pointer', 'int64'])(buffer, buffer.length);
    return buffer.toString('utf8', 0, buffer.indexOf(0)).trim();
  };
  const abort = library.bind('megatron_mpi_abort', 'void', ['int32']);
  return {
    version: (text('version').split('\n')[0] ?? '').replace(/\s+/g, ' '),
    call: (name, ...values) => (bound.get(name) as NativeFunction)(...values) as number,
    lastError: () => text('last_error'),
    abort: (exitCode) => void abort(exitCode),
  };
}
