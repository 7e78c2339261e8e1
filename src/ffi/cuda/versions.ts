/** Versions of CUDA's libraries, asked of the libraries themselves. */

import { messageOf } from '../../base/errors.ts';
import { openLibrary } from '../native.ts';
import { versionText } from './cublas-lt.ts';
import type { CudaLibraryName } from './find.ts';
import { Out } from './status.ts';

/** For people: "13.0", or why the library does not say. */
export function cudaVersion(name: CudaLibraryName, path: string): string {
  try {
    return versionOf(name, path);
  } catch (error) {
    return messageOf(error);
  }
}

function versionOf(name: CudaLibraryName, path: string): string {
  const library = openLibrary(path, { permanent: true });
  const [out, second] = [new Out(), new Out()];
  switch (name) {
    case 'driver':
      library.bind('cuDriverGetVersion', 'int32', ['pointer'])(out.place);
      return driverVersionText(out.int);
    case 'nvrtc':
      library.bind('nvrtcVersion', 'int32', ['pointer', 'pointer'])(out.place, second.place);
      return `${out.int}.${second.int}`;
    case 'cublasLt':
      return versionText(Number(library.bind('cublasLtGetVersion', 'int64', [])()));
    case 'nccl':
      library.bind('ncclGetVersion', 'int32', ['pointer'])(out.place);
      return versionText(out.int);
  }
}

/** 13000 → "13.0". */
const driverVersionText = (version: number): string =>
  `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
