/** NVRTC: CUDA C++ to machine code of one device's architecture, at run time. */

import { dirname } from 'node:path';
import { EngineError } from '../../base/errors.ts';
import { findLibraries } from '../libraries.ts';
import { keepLoaded, openLibrary } from '../native.ts';
import { bindChecked, CudaError, Out, type StatusWords } from './status.ts';

const signatures = {
  nvrtcVersion: ['pointer', 'pointer'],
  nvrtcCreateProgram: ['pointer', 'string', 'string', 'int32', 'pointer', 'pointer'],
  nvrtcCompileProgram: ['pointer', 'int32', 'strings'],
  nvrtcGetProgramLogSize: ['pointer', 'pointer'],
  nvrtcGetProgramLog: ['pointer', 'pointer'],
  nvrtcGetCUBINSize: ['pointer', 'pointer'],
  nvrtcGetCUBIN: ['pointer', 'pointer'],
  nvrtcDestroyProgram: ['pointer'],
} as const;

export interface Nvrtc {
  /** "13.0". */
  readonly version: string;
  /**
   * Compiles one source to a cubin.
   *
   * @param file its path, for messages and for what it includes from beside it
   * @throws EngineError with the compiler's words and the file's line.
   */
  compile(source: string, file: string, options: readonly string[]): Uint8Array;
}

/**
 * NVRTC opens a second library by its name alone when it compiles. That of CUDA 13's Python packages does not look beside itself, as
 * those of CUDA 12 do; what is loaded already is found by its name.
 */
function loadBuiltins(nvrtc: string): void {
  for (const path of findLibraries(/^libnvrtc-builtins\.so\.\d+\.\d+/, [dirname(nvrtc)])) keepLoaded(path);
}

/** @throws EngineError where the library does not load. */
export function openNvrtc(path: string): Nvrtc {
  loadBuiltins(path);
  const library = openLibrary(path, { permanent: true });
  const errorString = library.bind('nvrtcGetErrorString', 'string', ['int32']);
  const words: StatusWords = (status) => ({ name: String(errorString(status)), words: '' });
  const nvrtc = bindChecked(library, signatures, words);
  const [out, minor] = [new Out(), new Out()];
  nvrtc.nvrtcVersion(out.place, minor.place);
  const version = `${out.int}.${minor.int}`;

  const logOf = (program: bigint): string => {
    nvrtc.nvrtcGetProgramLogSize(program, out.place);
    const log = Buffer.alloc(Math.max(1, out.size));
    nvrtc.nvrtcGetProgramLog(program, log);
    return log.toString('utf8', 0, Math.max(0, log.indexOf(0))).trim();
  };

  return {
    version,
    compile(source, file, options) {
      nvrtc.nvrtcCreateProgram(out.place, source, file, 0, null, null);
      const handle = new Out();
      handle.place.setBigUint64(0, out.pointer, true);
      const program = out.pointer;
      try {
        try {
          nvrtc.nvrtcCompileProgram(program, options.length, options);
        } catch (error) {
          if (!(error instanceof CudaError)) throw error;
          throw new EngineError(`NVRTC ${version} failed on ${file}: ${error.statusName}\n${logOf(program)}`, {
            cause: error,
            remedy: `Options: ${options.join(' ')}`,
          });
        }
        nvrtc.nvrtcGetCUBINSize(program, out.place);
        const cubin = new Uint8Array(out.size);
        nvrtc.nvrtcGetCUBIN(program, cubin);
        return cubin;
      } finally {
        nvrtc.nvrtcDestroyProgram(handle.place);
      }
    },
  };
}
