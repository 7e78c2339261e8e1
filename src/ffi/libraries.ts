/** Where the machine keeps the native libraries that make the engines fast. */

import { existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Folders the loader would search, most specific first. */
export function libraryFolders(environment: NodeJS.ProcessEnv = process.env): string[] {
  const named = [environment['LD_LIBRARY_PATH'], environment['DYLD_LIBRARY_PATH']]
    .flatMap((list) => (list ?? '').split(delimiter))
    .filter((folder) => folder !== '');
  const usual =
    process.platform === 'darwin'
      ? ['/opt/homebrew/lib', '/opt/homebrew/opt/onednn/lib', '/opt/homebrew/opt/openblas/lib', '/usr/local/lib']
      : [
          '/usr/local/lib',
          '/usr/lib/x86_64-linux-gnu',
          '/usr/lib/aarch64-linux-gnu',
          '/usr/lib64',
          '/usr/lib',
          '/lib/x86_64-linux-gnu',
          '/lib/aarch64-linux-gnu',
        ];
  return [...new Set([...named, ...usual])].filter((folder) => existsSync(folder));
}

/** Full paths of the files in the loader's folders whose name matches, best folder first, highest version first. */
export function findLibraries(name: RegExp, folders: readonly string[] = libraryFolders()): string[] {
  return folders.flatMap((folder) => {
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch {
      return []; // a folder we may not read cannot serve either
    }
    return names
      .filter((file) => name.test(file))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((file) => join(folder, file));
  });
}

/** oneDNN's runtime library (Debian: libdnnl2, libdnnl3). */
export const findOneDnn = (): string | undefined => findLibraries(/^libdnnl(\.so(\.\d+)*|(\.\d+)*\.dylib)$/)[0];

/** A BLAS with the CBLAS interface: Accelerate on macOS, OpenBLAS elsewhere. */
export function findBlas(): string | undefined {
  const accelerate = '/System/Library/Frameworks/Accelerate.framework/Accelerate';
  if (process.platform === 'darwin') return accelerate; // lives in the loader's cache, not on the disk
  return findLibraries(/^libopenblas\.so(\.\d+)*$/)[0];
}
