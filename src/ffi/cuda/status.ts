/** CUDA's functions return a status; here every one is checked, and a failure is named. */

import { EngineError } from '../../base/errors.ts';
import type { NativeFunction, NativeLibrary, NativeType, NativeValue } from '../native.ts';

/** A function of a CUDA library failed. */
export class CudaError extends EngineError {
  /** The library's own number and name for what happened. */
  readonly status: number;
  readonly statusName: string;

  constructor(call: string, status: number, statusName: string, words: string) {
    super(`${call}: ${statusName} (${status})${words === '' ? '' : `, ${words}`}`, { ...remedyFor(statusName) });
    this.status = status;
    this.statusName = statusName;
  }
}

/** Failures that the user can do something about. */
function remedyFor(statusName: string): { readonly remedy?: string } {
  switch (statusName) {
    case 'CUDA_ERROR_NO_DEVICE':
      return { remedy: 'No GPU is visible: see CUDA_VISIBLE_DEVICES and nvidia-smi, or use --device cpu.' };
    case 'CUDA_ERROR_SYSTEM_DRIVER_MISMATCH':
    case 'CUDA_ERROR_INSUFFICIENT_DRIVER':
      return { remedy: 'The CUDA libraries are newer than the driver: update the driver, or use older libraries.' };
    case 'CUDA_ERROR_ILLEGAL_ADDRESS':
    case 'CUDA_ERROR_LAUNCH_FAILED':
    case 'CUDA_ERROR_MISALIGNED_ADDRESS':
      return { remedy: 'Run again with MEGATRON_CUDA_SYNC=1: then the error names the kernel.' };
    default:
      return {};
  }
}

/** Words for a status of one library. */
export type StatusWords = (status: number) => { readonly name: string; readonly words: string };

/** Parameters of the functions of a library that return a status, by name. */
export type Signatures = Readonly<Record<string, readonly NativeType[]>>;

/** Functions that return nothing and throw a CudaError where the library's own would return a failure. */
export type CheckedFunctions<Table extends Signatures> = {
  readonly [Name in keyof Table]: (...values: NativeValue[]) => void;
};

/** Binds a table of functions. Each is looked up at its first call, so that one that is never called may be missing. */
export function bindChecked<const Table extends Signatures>(
  library: NativeLibrary,
  signatures: Table,
  words: StatusWords,
): CheckedFunctions<Table> {
  const functions: Record<string, (...values: NativeValue[]) => void> = {};
  for (const [name, parameters] of Object.entries(signatures)) {
    let native: NativeFunction | undefined;
    functions[name] = (...values) => {
      native ??= library.bind(name, 'int32', parameters);
      const status = native(...values) as number;
      if (status !== 0) throw cudaError(name, status, words);
    };
  }
  return functions as CheckedFunctions<Table>;
}

export function cudaError(call: string, status: number, words: StatusWords): CudaError {
  const told = words(status);
  return new CudaError(call, status, told.name, told.words);
}

/** A place for what a function returns through a pointer. */
export class Out {
  readonly #view = new DataView(new ArrayBuffer(128)); // more than 64 bytes do not move

  /** What the function gets. */
  get place(): DataView {
    return this.#view;
  }

  get pointer(): bigint {
    return this.#view.getBigUint64(0, true);
  }

  /** A size or count that JavaScript's numbers hold exactly. */
  get size(): number {
    return Number(this.pointer);
  }

  get int(): number {
    return this.#view.getInt32(0, true);
  }

  get float(): number {
    return this.#view.getFloat32(0, true);
  }
}
