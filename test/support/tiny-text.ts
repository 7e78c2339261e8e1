/** A small text with letters of several bytes, preprocessed byte by byte, for runs on real files. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { megatron } from './command.ts';

export const line = 'Ein naïver Käse, 日本の 😀 – ';

/** Writes `documents` documents into `folder` and preprocesses them. @returns the value for --data-path. */
export async function tinyText(folder: string, documents = 40, name = 'text'): Promise<string> {
  const input = join(folder, `${name}.jsonl`);
  writeFileSync(input, `${JSON.stringify({ text: line.repeat(4) })}\n`.repeat(documents));
  const prefix = join(folder, name);
  const { code, stderr } = await megatron([
    ...['preprocess', '--input', input, '--tokenizer-type', 'ByteLevel', '--append-eod'],
    ...['--output-prefix', prefix, '--workers', '1'],
  ]);
  if (code !== 0) throw new Error(stderr);
  return `${prefix}_text_document`;
}
