/** Real data that some tests read, beside the repository; where it is absent those tests are skipped with a message. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../shared/data', import.meta.url));

export interface SharedData {
  readonly path: string;
  /** Why a test must be skipped; undefined where the data is there. */
  readonly missing: string | undefined;
}

/** @param name a folder or file inside the shared data */
export function sharedData(name: string): SharedData {
  const path = resolve(folder, name);
  const reason = `skipped: needs ${name} of the optional reference data beside the repository (../shared/data)`;
  return { path, missing: existsSync(path) ? undefined : reason };
}
