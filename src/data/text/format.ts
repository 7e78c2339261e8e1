/** Which format a text file has, by its name. */

import { extname } from 'node:path';
import { UsageError } from '../../base/errors.ts';
import type { TextFormat } from './documents.ts';

/**
 * `.jsonl`, `.ndjson` and `.json` are JSON lines; everything else is plain text.
 *
 * @throws UsageError for a compressed file, whose bytes are no text.
 */
export function textFormatOf(path: string): TextFormat {
  const extension = extname(path).toLowerCase();
  if (extension === '.jsonl' || extension === '.ndjson' || extension === '.json') return 'jsonl';
  if (
    extension === '.gz' ||
    extension === '.zst' ||
    extension === '.xz' ||
    extension === '.bz2' ||
    extension === '.zip'
  )
    throw new UsageError(`${path} is compressed`, {
      remedy: 'Decompress it first and give the .jsonl or .txt file inside.',
    });
  return 'text';
}
