/** What a tokenizer is, as one hash: two that give the same ids by the same rules have the same identity, wherever they were read from. */

import { createHash } from 'node:crypto';

/** SHA-256 (hex) of the rules' name and everything that decides the ids; the parts are kept apart, so that none can run into the next. */
export function tokenizerIdentity(rules: string, parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of [rules, ...parts]) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    hash.update(`${bytes.byteLength}:`).update(bytes);
  }
  return hash.digest('hex');
}
