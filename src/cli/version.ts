/** The version of this package. */

import { readFileSync } from 'node:fs';

/** Version of this package; its file lies two folders up from the sources and from what is built of them. */
export function version(): string {
  const description: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const found =
    typeof description === 'object' && description !== null && 'version' in description ? description.version : '';
  return String(found);
}
