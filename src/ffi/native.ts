/** The only door to native code: opening libraries and calling their functions through koffi. */

import { isMainThread } from 'node:worker_threads';
import koffi from 'koffi';
import { EngineError, messageOf } from '../base/errors.ts';

/**
 * The value types that cross the border. Pointers are bigint addresses, typed arrays or null; `bytes128` is a struct of 128
 * bytes that is passed by value.
 */
export type NativeType = keyof typeof koffiTypes;
export type NativeValue =
  | number
  | bigint
  | string
  | null
  | ArrayBufferView
  | readonly string[]
  | { readonly bytes: Uint8Array };
export type NativeFunction = (...values: NativeValue[]) => unknown;

export interface NativeLibrary {
  readonly path: string;
  /** A typed function of the library. @throws EngineError when the library has no such symbol. */
  bind(name: string, result: NativeType, parameters: readonly NativeType[]): NativeFunction;
  /**
   * The functions of a table that the library exports under `name`: `count` addresses, one after the other.
   *
   * @throws EngineError when the library has no such symbol.
   */
  bindTable(name: string, count: number, result: NativeType, parameters: readonly NativeType[]): NativeFunction[];
}

const koffiTypes = {
  void: 'void',
  pointer: 'void *',
  int32: 'int32_t',
  uint32: 'uint32_t',
  int64: 'int64_t',
  float: 'float',
  double: 'double',
  string: 'const char *',
  strings: 'const char **',
  bytes128: koffi.struct({ bytes: koffi.array('uint8_t', 128) }),
} as const;

// koffi runs native code on a stack of its own, 2 MiB by default; JIT compilers inside oneDNN and CUDA need more.
// It must be set before the first library is opened in this thread.
koffi.config({ ...koffi.config(), sync_stack_size: 16 * 1024 * 1024, async_stack_size: 16 * 1024 * 1024 });

/**
 * Opens a shared library.
 *
 * @param options global: its symbols, and those of the libraries it needs, serve libraries that are opened later; for
 *   libraries that load plug-ins. permanent: never unloaded, for libraries that keep threads or state until the process ends.
 * @throws EngineError with the loader's words.
 */
export function openLibrary(
  path: string,
  options: { readonly global?: boolean; readonly permanent?: boolean } = {},
): NativeLibrary {
  if (options.permanent) keepLoaded(path); // what fails here fails again below, with the loader's words
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load(path, { global: options.global ?? false });
  } catch (error) {
    throw new EngineError(`cannot load ${path}: ${messageOf(error)}`, { cause: error });
  }
  return {
    path,
    bind(name, result, parameters) {
      try {
        return library.func(
          name,
          koffiTypes[result],
          parameters.map((type) => koffiTypes[type]),
        ) as NativeFunction;
      } catch (error) {
        throw new EngineError(`${path} has no usable function ${name}: ${messageOf(error)}`, { cause: error });
      }
    },
    bindTable(name, count, result, parameters) {
      const address = permanentSymbol(path, name);
      if (address === undefined) throw new EngineError(`${path} has no table of functions ${name}`);
      const pointers = new BigUint64Array(viewMemory(address, 8 * count));
      const prototype = koffi.proto(
        null,
        koffiTypes[result],
        parameters.map((type) => koffiTypes[type]),
      );
      return Array.from(pointers, (pointer) => koffi.decode(pointer, prototype) as NativeFunction);
    },
  };
}

/** JavaScript's view of `bytes` of native memory; it must not be touched after the memory is freed. Costs about 1 µs. */
export function viewMemory(address: bigint, bytes: number): ArrayBuffer {
  return koffi.view(address, bytes) as ArrayBuffer;
}

/**
 * Address of the first byte. JavaScript does not move what is longer than 64 bytes, but frees it with the last reference to
 * it, and an address is none.
 */
export const addressOf = (bytes: ArrayBufferView): bigint => koffi.address(bytes);

/** The text of UTF-8 bytes that end with 0. */
export const textAt = (address: bigint): string => koffi.decode(address, 'char', -1) as string;

const systemLibrary = process.platform === 'darwin' ? '/usr/lib/libSystem.B.dylib' : 'libc.so.6';

/**
 * Lets OpenMP's threads sleep soon; call it before a library with OpenMP is loaded. Between two kernels they wait by spinning,
 * by default for milliseconds: on a machine with other work they then wait for each other's time slices, and a step took 30
 * times as long. A thousand turns, some 20 µs, bridge the gaps between our kernels. What the user chose stays.
 */
export function letThreadsSleep(): void {
  const [name, turns] = ['GOMP_SPINCOUNT', '1000'];
  if (process.env['OMP_WAIT_POLICY'] !== undefined || process.env[name] !== undefined) return;
  // The main thread's environment is the process' own, which libgomp reads as it loads; other threads have copies.
  if (isMainThread) process.env[name] = turns;
  else koffi.load(systemLibrary).func('setenv', 'int', ['const char *', 'const char *', 'int'])(name, turns, 0);
}

const RTLD_NOW = 2;
const RTLD_NODELETE = process.platform === 'darwin' ? 0x80 : 0x1000;

/**
 * Opens a library so that it is never unloaded, and returns the address of one of its functions for C++ to call.
 * Libraries with OpenMP threads crash the process at exit when they are unloaded while their threads still live.
 *
 * @returns undefined when the library or the symbol is not there.
 */
export function permanentSymbol(path: string, symbol: string): bigint | undefined {
  const find = koffi.load(systemLibrary).func('dlsym', 'void *', ['void *', 'const char *']);
  const handle = keepLoaded(path);
  if (!handle) return undefined;
  const address = find(handle, symbol) as bigint | null;
  return address ? address : undefined;
}

/** Opens a library so that it is never unloaded. @returns its handle, or undefined where it cannot be opened. */
export function keepLoaded(path: string): bigint | undefined {
  const open = koffi.load(systemLibrary).func('dlopen', 'void *', ['const char *', 'int']);
  return (open(path, RTLD_NOW | RTLD_NODELETE) as bigint | null) ?? undefined;
}
